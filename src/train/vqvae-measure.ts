/** What a tokenizer can do now: reconstruction measured on the test split, and a sheet of what each scale adds. */

import { type ImageDataset, inOrder } from "../data/index.ts";
import type { Tensor, TensorMap } from "../formats/dtype.ts";
import type { VqvaeConfig } from "../image/config.ts";
import { quantize } from "../image/quantizer.ts";
import { imageSize } from "../image/scales.ts";
import { type Picture, sheet, toPictures } from "../image/sheet.ts";
import { ssim } from "../image/ssim.ts";
import { decode, encode } from "../image/vqvae.ts";
import { vqvaeSpecs } from "../image/vqvae-layout.ts";
import { bindInputs } from "../nn/bind.ts";
import type { Backend, Session } from "../tensor/backend.ts";
import { createGraph, input, output } from "../tensor/graph.ts";
import { clip, concat, mean, mse } from "../tensor/ops.ts";
import type { Metrics } from "./run.node.ts";

/** A further measure of reconstructions, such as rFID: takes batches, then says what they come to. */
export interface Judge {
  /** Both B 3 H W in [-1, 1]. */
  add(images: Tensor, rebuilt: Tensor): Promise<void>;
  metrics(): Promise<Metrics>;
}

/** Rows of the sheet. */
const SHEET_PICTURES = 12;

/** Peak signal-to-noise ratio in dB of pixels in [-1, 1]. */
export const psnr = (meanSquare: number): number => 10 * Math.log10(4 / meanSquare);

/** A tokenizer's tests on fixed data; graphs are compiled when first needed. Has a life: release it. */
export interface VqvaeMeasure {
  /** PSNR and SSIM of the test pictures in whole batches, share of codes they use, and what the judge says. */
  evaluate(weights: TensorMap): Promise<Metrics>;
  /** A row per picture: the original, then what is seen after scale 1, 2, ... K. */
  draw(weights: TensorMap): Promise<Picture>;
  release(): Promise<void>;
}

export function vqvaeMeasure(
  model: VqvaeConfig,
  {
    data,
    batch,
    backend,
    judge,
  }: { data: ImageDataset; batch: number } & {
    backend: Backend;
    judge?: () => Judge;
  },
): VqvaeMeasure {
  let [tester, drawer]: (Promise<Session> | undefined)[] = [];
  const run = async (session: Promise<Session>, images: Tensor, weights: TensorMap) =>
    (await session).run({ images, ...Object.fromEntries(weights) });
  return {
    async evaluate(weights) {
      tester ??= backend.compile(testGraph(model, batch));
      const used = new Set<number>();
      const opinion = judge?.();
      let [squared, similar, count] = [0, 0, 0];
      for await (const { images } of inOrder(data, { batch })) {
        if (images.shape[0] !== batch) break;
        const r = await run(tester, images, weights);
        squared += batch * Number(r.squared!.data[0]);
        similar += batch * Number(r.ssim!.data[0]);
        count += batch;
        for (const id of r.ids!.data) used.add(Number(id));
        await opinion?.add(images, r.rebuilt!);
      }
      return {
        testPsnr: psnr(squared / count),
        testSsim: similar / count,
        testUsage: used.size / model.codes,
        ...(await opinion?.metrics()),
        testPictures: count,
      };
    },
    async draw(weights) {
      drawer ??= backend.compile(growthGraph(model));
      const K = model.patchNums.length;
      const stride = Math.max(1, Math.floor(data.count / SHEET_PICTURES));
      const rows: Picture[][] = [];
      let at = 0;
      for await (const { images } of inOrder(data, { batch: 1 })) {
        if (at++ % stride) continue;
        const { grown } = await run(drawer, images, weights);
        rows.push([...toPictures(images), ...toPictures(grown!)]);
        if (rows.length === SHEET_PICTURES) break;
      }
      return sheet(rows.flat(), { columns: K + 1 });
    },
    async release() {
      for (const session of [tester, drawer]) await (await session)?.release();
    },
  };
}

/** images B 3 H W -> rebuilt B 3 H W, squared, ssim, ids B L */
function testGraph(model: VqvaeConfig, batch: number) {
  const g = createGraph("vqvae test");
  const p = bindInputs(g, vqvaeSpecs(model));
  const { width, height } = imageSize(model);
  const images = input(g, "images", [batch, 3, height, width]);
  const { ids, fHats } = quantize(encode(images, p, model), p, model);
  const rebuilt = clip(decode(fHats.at(-1)!, p, model), -1, 1);
  output(g, "rebuilt", rebuilt);
  output(g, "squared", mse(rebuilt, images));
  output(g, "ssim", mean(ssim(rebuilt, images)));
  output(g, "ids", concat(ids, 1));
  return g;
}

/** images 1 3 H W -> grown K 3 H W: the picture after each scale */
function growthGraph(model: VqvaeConfig) {
  const g = createGraph("vqvae growth");
  const p = bindInputs(g, vqvaeSpecs(model));
  const { width, height } = imageSize(model);
  const images = input(g, "images", [1, 3, height, width]);
  const { fHats } = quantize(encode(images, p, model), p, model);
  output(g, "grown", decode(concat(fHats, 0), p, model));
  return g;
}
