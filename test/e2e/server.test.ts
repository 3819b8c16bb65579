/** The server as clients meet it: OpenAI's own client, ours, an OpenAPI validator, and those who mean no good. */

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Validator } from "@seriousme/openapi-schema-validator";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import OpenAI, { APIError, toFile } from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, type DrawRequest, type JobEvent, ServerError } from "../../src/client.ts";
import { decodePng, encodePng } from "../../src/formats/png.ts";
import { boxMask } from "../../src/image/edit/mask.ts";
import { embeddedModels, MODEL_FILES } from "../../src/image/embedded.node.ts";
import { loadVarFrom } from "../../src/image/node.ts";
import { sample } from "../../src/image/sampler.ts";
import type { Picture } from "../../src/image/sheet.ts";
import {
  newKey,
  type RunningServer,
  type ServeOptions,
  startServer,
} from "../../src/server/index.ts";
import { rng } from "../../src/tensor/rng.ts";

const [{ name, folder: modelFolder }] = embeddedModels() as [ReturnType<typeof embeddedModels>[0]];
const models = [
  {
    name,
    files: {
      var: join(modelFolder, MODEL_FILES.var),
      vqvae: join(modelFolder, MODEL_FILES.vqvae),
    },
  },
];
let home: string;
let server: RunningServer;
const ended: (() => Promise<void>)[] = [];

const start = async (options: Partial<ServeOptions> = {}): Promise<RunningServer> => {
  const folder = options.folder ?? (await mkdtemp(join(home, "server-")));
  return startServer({ models, folder, version: "test", now: Date.now, port: 0, ...options });
};
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "underpaint-serve-"));
  server = await start({ runs: join(home, "runs") });
}, 60_000);
afterAll(async () => {
  await server?.close();
  for (const end of ended) await end();
  await rm(home, { recursive: true, force: true });
});

const openai = () => new OpenAI({ apiKey: "none", baseURL: `${server.url}/v1`, maxRetries: 0 });
const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  fetch(server.url + path, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
const bytesOf = (b64: string | undefined) => new Uint8Array(Buffer.from(b64!, "base64"));
const hearts = async () => {
  const { data } = await openai().images.generate({ prompt: "hearts/noto", seed: 1 } as never);
  return bytesOf((data![0] as { b64_json: string }).b64_json);
};

describe("OpenAI's client", () => {
  test("lists the models and finds one", async () => {
    const { data } = await openai().models.list();
    expect(data.map(({ id }) => id)).toEqual([name]);
    expect((await openai().models.retrieve(name)).id).toBe(name);
    await expect(openai().models.retrieve("other")).rejects.toMatchObject({ status: 404 });
  });

  test("generates what the library draws for the same seed, byte for byte", async () => {
    const answer = await openai().images.generate({
      model: name,
      prompt: "a heart in noto style",
      n: 2,
      seed: 7,
    } as never);
    expect(answer.data).toHaveLength(2);
    expect(answer.data!.map((d) => d.revised_prompt)).toEqual(["hearts/noto", "hearts/noto"]);
    expect(answer.size).toBe("64x64");
    const model = await loadVarFrom(models[0]!.files);
    let pictures: Picture[] = [];
    for await (const step of sample(model, { label: "hearts/noto", seed: 7, count: 2 }))
      if (step.scale === step.of - 1) pictures = await step.pictures();
    await model.release();
    for (const [i, { b64_json }] of answer.data!.entries())
      expect((await decodePng(bytesOf(b64_json))).data).toEqual(pictures[i]!.data);
  });

  test("streams partial images before the whole one", async () => {
    const stream = await openai().images.generate({
      prompt: "food",
      stream: true,
      partial_images: 3,
    });
    const events: { type: string; partial_image_index?: number }[] = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      ...new Array(3).fill("image_generation.partial_image"),
      "image_generation.completed",
    ]);
    expect(events.slice(0, 3).map((e) => e.partial_image_index)).toEqual([0, 1, 2]);
  });

  test("edits: what the mask keeps comes back byte by byte, and every scale when asked for", async () => {
    const original = await hearts();
    const picture = (await decodePng(original)) as Picture & { text: object };
    const mask = boxMask({ left: 0.25, top: 0.25, right: 0.75, bottom: 0.75 }, picture);
    const data = new Uint8Array(64 * 64 * 4);
    for (const [i, kept] of mask.data.entries()) data.set([255, 255, 255, 255 * kept], 4 * i);
    const maskPng = await encodePng({ width: 64, height: 64, channels: 4, data });
    const answer = (await openai().images.edit({
      image: await toFile(original, "a.png", { type: "image/png" }),
      mask: await toFile(maskPng, "m.png", { type: "image/png" }),
      prompt: "faces",
      scales: true,
    } as never)) as unknown as { data: { b64_json: string; scales: { shape: number[] }[] }[] };
    const [one] = answer.data;
    const edited = await decodePng(bytesOf(one!.b64_json));
    let changed = 0;
    for (let i = 0; i < mask.data.length; i++)
      for (let c = 0; c < 3; c++) {
        const same = edited.data[3 * i + c] === picture.data[3 * i + c];
        if (mask.data[i] === 1 && !same) throw new Error(`kept pixel ${i} changed`);
        if (!same) changed++;
      }
    expect(changed).toBeGreaterThan(500);
    expect(one!.scales.map(({ shape }) => shape[1])).toEqual([1, 2, 3, 4, 5, 6, 8]);
  });

  test("edits pictures of other sizes through a window, and streams those too", async () => {
    const data = rng(1)
      .fillUniform(new Float32Array(100 * 80 * 3))
      .map((v) => 255 * v);
    const large = await encodePng({
      width: 100,
      height: 80,
      channels: 3,
      data: Uint8Array.from(data),
    });
    const white = new Uint8Array(100 * 80).fill(0);
    for (let y = 20; y < 50; y++) white.fill(255, y * 100 + 30, y * 100 + 60);
    const stream = await openai().images.edit({
      image: await toFile(large, "a.png", { type: "image/png" }),
      mask: await toFile(
        await encodePng({ width: 100, height: 80, channels: 1, data: white }),
        "m.png",
        {
          type: "image/png",
        },
      ),
      prompt: "none",
      stream: true,
      partial_images: 1,
    });
    const events = [];
    for await (const event of stream) events.push(event);
    expect(events.map(({ type }) => type)).toEqual([
      "image_edit.partial_image",
      "image_edit.completed",
    ]);
    expect((await decodePng(bytesOf(events.at(-1)!.b64_json))).width).toBe(100);
  });

  test.each([
    [{ prompt: "zzzz" }, /no class "zzzz"/],
    [{ prompt: "food", n: 1000 }, /^400 n: /],
    [{ prompt: "food", seed: -1 }, /^400 seed: /],
    [{ prompt: "food", size: "1024x1024" }, /draws 64x64/],
    [{ prompt: "food", model: "dall-e-3" }, /^404 there is no model "dall-e-3"/],
  ])("is told in a sentence what is wrong with %o", async (wish, message) => {
    const error = await openai()
      .images.generate(wish as never)
      .then(
        () => undefined,
        (e) => e,
      );
    expect(error).toBeInstanceOf(APIError);
    expect(error.message).toMatch(message);
    expect(error.error).toMatchObject({ type: "invalid_request_error" });
  });
});

describe("our client", () => {
  test("hears every scale with tokens and doubt, then the picture, then the end", async () => {
    const client = connect({ url: server.url });
    const events: JobEvent[] = [];
    for await (const event of client.draw({ label: "faces/noto", seed: 3, count: 2 }))
      events.push(event);
    const scales = events.filter((e) => e.kind === "scale" && e.place === 1);
    expect(
      scales.map((e) => e.kind === "scale" && [...e.shape, e.ids.length, e.doubt.length]),
    ).toEqual([1, 2, 3, 4, 5, 6, 8].map((side) => [side, side, side ** 2, side ** 2]));
    for (const e of scales)
      if (e.kind === "scale") for (const v of e.doubt) expect(v >= 0 && v <= 1).toBe(true);
    expect(events.at(-1)).toMatchObject({ kind: "state", state: "done" });
    const [job] = await client.jobs({ limit: 1 });
    expect(job).toMatchObject({ state: "done", labels: ["faces/noto", "faces/noto"], seed: 3 });
    const png = await (await fetch(client.address(job!.pictures[0]!.url))).arrayBuffer();
    const { text } = await decodePng(new Uint8Array(png));
    expect(JSON.parse(text.underpaint!)).toMatchObject({ seed: 3, label: "faces/noto", index: 0 });
    await client.remove(job!.id);
    await expect(client.job(job!.id)).rejects.toThrow(ServerError);
  });

  test("going away cancels the job within a scale", async () => {
    const client = connect({ url: server.url });
    const stop = new AbortController();
    let id = "";
    const listen = async () => {
      for await (const event of client.draw(
        { label: "food", count: 200 },
        { signal: stop.signal },
      )) {
        if (event.kind !== "scale") continue;
        id = (await client.jobs({ limit: 1 }))[0]!.id;
        stop.abort();
      }
    };
    await expect(listen()).rejects.toThrow();
    const until = Date.now() + 5000;
    while ((await client.job(id)).state !== "cancelled" && Date.now() < until)
      await new Promise((resolve) => setTimeout(resolve, 20));
    const job = await client.job(id);
    expect(job.state).toBe("cancelled");
    expect(job.pictures.length).toBeLessThan(200);
  });

  test("a branch shares the coarse scales and has a name", async () => {
    const client = connect({ url: server.url });
    const ids = async (branches: { from: number; name: string }[]) => {
      const all: string[] = [];
      for await (const e of client.draw({ label: "food/noto", seed: 5, branches }))
        if (e.kind === "scale") all.push(e.ids.join());
      return all;
    };
    const [plain, a, again] = [
      await ids([]),
      await ids([{ from: 4, name: "a" }]),
      await ids([{ from: 4, name: "a" }]),
    ];
    expect(a.slice(0, 4)).toEqual(plain.slice(0, 4));
    expect(a).not.toEqual(plain);
    expect(again).toEqual(a);
    const late = client.submit({ label: "food/noto", branches: [{ from: 99, name: "a" }] });
    await expect(late).rejects.toMatchObject({ status: 400 });
    await expect(late).rejects.toThrow(/a branch must start at scale 0 to \d+/);
  });
});

describe("kinds of edits", () => {
  const client = () => connect({ url: server.url });
  const plainPng = (width: number, height: number, grey = 90) =>
    encodePng({ width, height, channels: 3, data: new Uint8Array(width * height * 3).fill(grey) });
  /** The finished pictures of a request, and how many scales were told of the first. */
  async function edited(request: DrawRequest) {
    const pngs: Uint8Array[] = [];
    const told: string[] = [];
    let id = "";
    for await (const event of client().draw(request)) {
      if (event.kind === "scale" && event.place === 0) told.push(`${event.scale}/${event.of}`);
      if (event.kind === "picture") {
        pngs[event.place] = bytesOf(event.b64_json); // written side by side: told in any order
        id = event.url.split("/")[2]!;
      }
      if (event.kind === "state" && event.error) throw new Error(event.error);
    }
    const pictures = await Promise.all(pngs.map((png) => decodePng(png)));
    return { pictures, told, job: await client().job(id) };
  }
  const at = ({ data, width }: Pick<Picture, "data" | "width">, x: number, y: number) => [
    ...data.slice(3 * (y * width + x), 3 * (y * width + x) + 3),
  ];

  test("extend draws beyond each side, leaves the picture as it is, and tells its windows' scales", async () => {
    const face = await hearts();
    const before = await decodePng(face);
    const sides = { left: 8, top: 0, right: 24, bottom: 3 };
    const { pictures, told, job } = await edited({
      kind: "extend",
      image: face,
      seed: 4,
      ...sides,
    });
    const [after] = pictures;
    expect([after!.width, after!.height]).toEqual([96, 67]);
    for (const [x, y] of [
      [0, 0],
      [63, 63],
      [31, 40],
    ] as const)
      expect(at(after!, x + 8, y)).toEqual(at(before, x, y));
    expect(new Set(after!.data.slice(0, 24)).size).toBeGreaterThan(0);
    const of = Number(told[0]!.split("/")[1]);
    expect(of % 7).toBe(0);
    expect(told.length).toBeGreaterThan(7);
    expect(told.at(-1)).toBe(`${of - 1}/${of}`);
    expect(job).toMatchObject({ labels: ["none"], edit: { kind: "extend", ...sides } });
    expect(job.edit).not.toHaveProperty("feather");
    const { text } = after!;
    expect(JSON.parse(text.underpaint!)).toMatchObject({ edit: { kind: "extend", right: 24 } });
  });

  test("enlarge makes a small picture as large as the model draws, and it shrinks to the small one again", async () => {
    const image = await plainPng(16, 16, 60);
    const { pictures, job } = await edited({ kind: "enlarge", image, count: 2, label: "food" });
    expect(pictures.map(({ width, height }) => [width, height])).toEqual([
      [64, 64],
      [64, 64],
    ]);
    const mean = pictures[0]!.data.reduce((sum, v) => sum + v, 0) / pictures[0]!.data.length;
    expect(Math.abs(mean - 60)).toBeLessThan(6);
    expect(job.edit).toEqual({ kind: "enlarge", keep_scales: 4 });
  });

  test("interpolate begins at one picture and ends at the other, with one chance for all", async () => {
    const [image, other] = [await hearts(), await plainPng(64, 64, 200)];
    const way = { kind: "interpolate", image, other, count: 4, course: "coarse" } as const;
    const { pictures, job } = await edited(way);
    const end = async (one: Uint8Array) =>
      (await edited({ kind: "vary", image: one, keep_scales: 7 })).pictures[0]!.data;
    expect(pictures[0]!.data).toEqual(await end(image));
    expect(pictures[3]!.data).toEqual(await end(other));
    expect(job.pictures.map(({ index }) => index)).toEqual([0, 0, 0, 0]);
    expect(job.edit).toEqual({ kind: "interpolate", keep_scales: 7, course: "coarse" });
    expect(pictures.map(({ text }) => JSON.parse(text.underpaint!).edit.part)).toEqual([
      0,
      1 / 3,
      2 / 3,
      1,
    ]);
  });

  test("a way whose server ended in the midst is drawn to its end by the next", async () => {
    const folder = await mkdtemp(join(home, "way-"));
    const first = await start({ folder, batch: 1 });
    const { id } = await connect({ url: first.url }).submit({
      ...{ kind: "interpolate", image: await hearts(), other: await plainPng(64, 64), count: 12 },
      scales: false,
    });
    await first.close({ signal: AbortSignal.abort() });
    const second = await start({ folder });
    ended.push(() => second.close());
    const again = connect({ url: second.url });
    for await (const _ of again.events(id));
    const job = await again.job(id);
    expect(job.state).toBe("done");
    expect(job.pictures).toHaveLength(12);
  }, 60_000);

  test("what does not fit is refused in a sentence before anything is drawn", async () => {
    const b64 = async (width: number, height = width) =>
      Buffer.from(await plainPng(width, height)).toString("base64");
    const [image, small, wide] = [await b64(64), await b64(16), await b64(30, 20)];
    const white = Buffer.from(await plainPng(64, 64, 255)).toString("base64");
    const cases: [object, RegExp][] = [
      [{ kind: "extend", image }, /no side is to be extended/],
      [{ kind: "extend", image, left: -1 }, /^left: /],
      [{ kind: "extend", image, left: 2.5 }, /^left: /],
      [{ kind: "extend", image, left: 99_999 }, /at most 256 are drawn/],
      [
        { kind: "extend", image, right: 8, keep_scales: 2 },
        /keep_scales: kind extend takes left, /,
      ],
      [{ kind: "extend", image, right: 8, mask: image }, /mask: kind extend takes none/],
      [{ kind: "extend", right: 8 }, /no image to edit/],
      [{ right: 8, label: "food" }, /right: there is no image/],
      [{ image, right: 8 }, /right: kind vary takes keep_scales; right is for kind extend/],
      [{ kind: "enlarge", image }, /smaller square picture, got 64x64/],
      [{ kind: "enlarge", image: wide }, /smaller square picture, got 30x20/],
      [{ kind: "enlarge", image: small, keep_scales: 8 }, /keep_scales must be 0 to 7/],
      [{ kind: "interpolate", image, count: 3 }, /other: kind interpolate needs one/],
      [{ kind: "interpolate", image, other: small }, /got count 1; ask for 2 or more/],
      [{ kind: "interpolate", other: small, count: 3 }, /other: it needs an image/],
      [{ kind: "vary", image, other: small }, /only kind interpolate/],
      [{ kind: "paint", image }, /mask: kind paint needs one/],
      [{ kind: "paint", image, mask: white, feather: 100 }, /feather must be 0 to 64/],
      [{ kind: "melt", image }, /^kind: /],
      [{ kind: "interpolate", image, other: "AAAA", count: 2 }, /other/],
    ];
    for (const [body, message] of cases) {
      const answer = await post("/jobs", body);
      const { error } = (await answer.json()) as { error: { message: string; type: string } };
      expect([answer.status, error?.message], JSON.stringify(Object.keys(body))).toEqual([
        400,
        expect.stringMatching(message),
      ]);
      expect(error.type).toBe("invalid_request_error");
    }
  });
});

describe("the OpenAPI document", () => {
  test("is valid, and every answer is as it says", async () => {
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as {
      components: { schemas: Record<string, object> };
    };
    const { valid, errors } = await new Validator().validate(structuredClone(document));
    expect(errors ?? [], JSON.stringify(errors)).toEqual([]);
    expect(valid).toBe(true);
    const ajv = new Ajv2020({ strict: false });
    ajv.addSchema({ $id: "doc", ...document });
    const is = (schema: string): ValidateFunction =>
      ajv.getSchema(`doc#/components/schemas/${schema}`)!;
    const fits = async (schema: string, answer: Response) => {
      const check = is(schema);
      const body = await answer.json();
      expect(check(body), `${schema}: ${JSON.stringify(check.errors)}`).toBe(true);
    };
    await fits("ModelList", await fetch(`${server.url}/v1/models`));
    await fits("Model", await fetch(`${server.url}/v1/models/${name}`));
    await fits("Error", await fetch(`${server.url}/v1/models/none`));
    await fits(
      "ImagesResponse",
      await post("/v1/images/generations", { prompt: "food", scales: true }),
    );
    await fits(
      "ImagesResponse",
      await post("/v1/images/generations", { prompt: "food", response_format: "url" }),
    );
    await fits("Job", await post("/jobs", { label: "food" }));
    const png = (width: number) =>
      encodePng({ width, height: width, channels: 3, data: new Uint8Array(3 * width * width) });
    const [image, small] = await Promise.all(
      [64, 16].map(async (width) => Buffer.from(await png(width)).toString("base64")),
    );
    for (const body of [
      { kind: "vary", image },
      { kind: "extend", image, left: 8, blend: "feather", feather: 1 },
      { kind: "enlarge", image: small },
      { kind: "interpolate", image, other: small, count: 2, course: "fine" },
    ]) {
      const request = is("JobRequest");
      expect(request(body), `JobRequest: ${JSON.stringify(request.errors)}`).toBe(true);
      const accepted = await post("/jobs", body);
      expect(accepted.status).toBe(202);
      await fits("Job", accepted);
    }
    expect(is("JobRequest")({ kind: "melt" })).toBe(false);
    await fits("JobList", await fetch(`${server.url}/jobs`));
    await fits("RunList", await fetch(`${server.url}/runs`));
    await fits("Error", await post("/jobs", { label: 3 }));
  });
});

describe("bad requests", () => {
  test("malformed bodies are always answered in OpenAI's error form, never with 5xx", async () => {
    const png = await hearts();
    // An empty object is a good job: any picture. So objects ask for less than none.
    const json = fc
      .anything({ maxDepth: 3 })
      .map((v) => (v?.constructor === Object || v === null ? { ...v, n: -1, count: -1 } : v))
      .filter((v) => typeof v !== "object" || Array.isArray(v) || v?.constructor === Object)
      .map((v) => JSON.stringify(v) ?? "undefined");
    const object = fc
      .dictionary(
        fc.constantFrom(
          "prompt",
          "n",
          "seed",
          "size",
          "model",
          "label",
          "labels",
          "count",
          "image",
          "mask",
          "branches",
          "guidance",
          "top_p",
        ),
        fc.oneof(
          fc.string(),
          fc.integer(),
          fc.double(),
          fc.constant(null),
          fc.array(fc.string()),
          fc.constant("food"),
        ),
      )
      .map((v) => JSON.stringify({ ...v, n: -1, count: -1 }));
    const body = fc.oneof(
      json,
      object,
      fc.string(),
      fc.string().map((s) => `{"prompt":"${s}"`),
    );
    const target = fc.constantFrom("/v1/images/generations", "/jobs", "/v1/images/edits");
    await fc.assert(
      fc.asyncProperty(
        target,
        body,
        fc.constantFrom("application/json", "multipart/form-data", "text/plain"),
        async (path, text, type) => {
          const answer = await post(path, text, { "Content-Type": type });
          expect(answer.status).toBeGreaterThanOrEqual(400);
          expect(answer.status).toBeLessThan(500);
          expect(await answer.json()).toMatchObject({ error: { message: expect.any(String) } });
        },
      ),
      { numRuns: 350, seed: 5 },
    );
    // Damaged pictures: cut off, bits turned.
    const chance = rng("damage");
    for (let i = 0; i < 150; i++) {
      const bytes = png.slice(0, i % 3 === 0 ? chance.int(png.length) : png.length);
      for (let k = 0; k < 3 && bytes.length > 0; k++)
        bytes[chance.int(bytes.length)]! ^= 1 << chance.int(8);
      const form = new FormData();
      form.set("prompt", "none");
      form.set("image", new File([bytes], "a.png"));
      form.set("mask", new File([bytes.slice(0, bytes.length >> 1)], "m.png"));
      const answer = await fetch(`${server.url}/v1/images/edits`, { method: "POST", body: form });
      // A turned bit may make the picture larger than what is read.
      expect([400, 413], await answer.clone().text()).toContain(answer.status);
    }
    expect((await fetch(`${server.url}/health`)).status).toBe(200);
  }, 120_000);

  test("a picture of 50 million pixels and a bomb are refused before they are decoded", async () => {
    // Only the head says how large it is; what follows would not matter.
    const bomb = await encodePng({ width: 8, height: 8, channels: 3, data: new Uint8Array(192) });
    const view = new DataView(bomb.buffer, bomb.byteOffset);
    view.setUint32(16, 10_000);
    view.setUint32(20, 5_000);
    const crc = await import("../../src/formats/crc32.ts");
    view.setUint32(29, crc.crc32(bomb.subarray(12, 29)));
    const form = new FormData();
    form.set("prompt", "none");
    form.set("image", new File([bomb as BlobPart], "a.png"));
    const answer = await fetch(`${server.url}/v1/images/edits`, { method: "POST", body: form });
    expect([answer.status, await answer.text()]).toEqual([
      413,
      expect.stringMatching(/10000x5000 pixels/),
    ]);
    const large = await post("/jobs", { image: "A".repeat(26_000_000) });
    expect(large.status).toBe(413);
  });

  test("paths lead nowhere but to jobs and sheets", async () => {
    await writeFile(join(home, "secret.png"), "secret");
    for (const path of [
      "/jobs/..%2f..%2fsecret.png",
      "/jobs/../secret.png",
      "/runs/..%2f",
      "/runs/x/sheets/..%2f..%2fsecret.png",
    ]) {
      const answer = await fetch(server.url + path);
      expect(answer.status).toBe(404);
      expect(await answer.text()).not.toBe("secret");
    }
  });

  test("requests by another name, and pages elsewhere, are refused", async () => {
    const { hostname, port } = new URL(server.url);
    const status = (headers: Record<string, string>) =>
      new Promise<number | undefined>((resolve, reject) => {
        const ask = request({ hostname, port, path: "/v1/models", headers }, (r) =>
          resolve(r.resume().statusCode),
        );
        ask.on("error", reject).end();
      });
    expect(await status({ Host: "evil.example" })).toBe(403);
    expect(await status({ Origin: "https://evil.example" })).toBe(403);
    expect(await status({ Origin: server.url })).toBe(200);
  });
});

describe("a server", () => {
  test("with keys lets in those who bear one, and keeps only hashes", async () => {
    const keys = join(home, "keys.txt");
    const { key, line } = newKey("laptop");
    await writeFile(keys, `${line}\n`);
    expect(await readFile(keys, "utf8")).not.toContain(key);
    const guarded = await start({ keys });
    ended.push(() => guarded.close());
    const ask = (given?: string) => connect({ url: guarded.url, key: given }).models();
    await expect(ask()).rejects.toMatchObject({ status: 401 });
    await expect(ask("up-wrong")).rejects.toMatchObject({ status: 401 });
    expect(await ask(key)).toHaveLength(1);
    await expect(start({ host: "0.0.0.0" })).rejects.toThrow(/keys are wanted/);
  }, 60_000);

  test("whose queue is full says when to come again, and draws what it accepted", async () => {
    const small = await start({ queue: 3 });
    ended.push(() => small.close());
    const client = connect({ url: small.url });
    const tries = await Promise.allSettled(
      Array.from({ length: 8 }, () => client.submit({ label: "food", scales: false })),
    );
    const taken = tries.flatMap((t) => (t.status === "fulfilled" ? [t.value.id] : []));
    const refused = tries.flatMap((t) =>
      t.status === "rejected" ? [t.reason as ServerError] : [],
    );
    expect(taken).toHaveLength(3);
    for (const error of refused) {
      expect(error.status).toBe(429);
      expect(error.retryAfter).toBeGreaterThanOrEqual(1);
    }
    for (const id of taken) {
      const states = [];
      for await (const event of client.events(id))
        if (event.kind === "state") states.push(event.state);
      expect(states.at(-1)).toBe("done");
    }
  }, 60_000);

  test("that ended in the midst draws at its next start what it had accepted, with the same seeds", async () => {
    const folder = await mkdtemp(join(home, "again-"));
    const first = await start({ folder });
    const client = connect({ url: first.url });
    const jobs = await Promise.all(
      [1, 2, 3].map((seed) => client.submit({ label: "food", seed, count: 20, scales: false })),
    );
    await first.close({ signal: AbortSignal.abort() });
    const second = await start({ folder });
    ended.push(() => second.close());
    expect(second.resumed).toBeGreaterThan(0);
    const again = connect({ url: second.url });
    for (const { id, seed } of jobs) {
      for await (const _ of again.events(id));
      const job = await again.job(id);
      expect(job).toMatchObject({ state: "done", seed });
      expect(job.pictures.map(({ place }) => place)).toEqual(
        Array.from({ length: 20 }, (_, i) => i),
      );
    }
  }, 60_000);
});
