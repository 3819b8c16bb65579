/** `train vqvae --judge`: rFID of the test split at every evaluation, through a network of evaluation. Trains nothing. */

import { frechetDistance } from "../eval/frechet.ts";
import type { PictureSet } from "../eval/network.ts";
import { openNetwork } from "../eval/networks.ts";
import { openProducts } from "../eval/products.ts";
import { StatisticsStream } from "../eval/statistics.ts";
import type { Tensor } from "../formats/dtype.ts";
import { InputError } from "../formats/errors.ts";
import { pictureSize, pixelCount } from "../formats/picture-size.ts";
import { toPictures } from "../image/sheet.ts";
import { asPictures } from "../lab/showcase.ts";
import type { Backend } from "../tensor/backend.ts";
import type { Judge } from "../train/vqvae-measure.ts";

/**
 * Judges of reconstructions; each takes pictures once, and no picture is kept. Has a life: release it.
 * @param options.pictures how many there will be
 * @throws InputError where the network is none, or where so few pictures give no Frechet distance
 */
export async function openRebuiltJudge(
  name: string,
  { backend, pictures }: { backend: Backend; pictures: number },
): Promise<{ judge: () => Judge; release(): Promise<void> }> {
  const network = await openNetwork(name, { backend });
  const products = await openProducts({ backend });
  const release = async () => {
    await products.release();
    await network.release();
  };
  try {
    const size = pictureSize(network.size);
    const blank = { count: 1, ...size, pixels: new Uint8Array(3 * pixelCount(size)) };
    const { width } = (await network.look(blank)).features;
    if (pictures <= width)
      throw new InputError(
        `--judge ${name}: rFID needs more test pictures than its ${width} features, there are ${pictures}; choose a network with fewer features, or add pictures`,
        { pictures, width },
      );
  } catch (error) {
    await release();
    throw error;
  }
  const judge = (): Judge => {
    const [real, rebuilt] = [new StatisticsStream(products), new StatisticsStream(products)];
    return {
      async add(images, after) {
        for (const [stream, part] of [
          [real, images],
          [rebuilt, after],
        ] as const)
          await stream.add((await network.look(asSet(part))).features);
      },
      metrics: async () => ({
        rFid: await frechetDistance(rebuilt.statistics(), real.statistics(), { products }),
      }),
    };
  };
  return { judge, release };
}

/** Images in [-1, 1] as bytes, as `eval` would read them from files. B 3 H W */
const asSet = (images: Tensor): PictureSet => asPictures(toPictures(images));
