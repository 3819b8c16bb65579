/** What a backend cannot do, by the name of the conformance case, each with its reason. The same in Node and in a page. */

export const SKIPPED_ON_ORT_WEB: Readonly<Record<string, string>> = {
  "a profile says where the time goes, by op and scope":
    "WebAssembly has no file to write a profile to; compile says so",
};

/** Chromium's software adapter; others may do more. */
export const SKIPPED_ON_ORT_WEBGPU: Readonly<Record<string, string>> = {
  ...SKIPPED_ON_ORT_WEB,
  "softmax of no rows":
    "its kernels cannot be started for nothing (ORT 1.30); no model asks for it",
  ...Object.fromEntries(
    ["false false", "true false", "false true", "true true"].map((transposed) => [
      `matmul of [2,0] and [0,4], transposed ${transposed}`,
      "its kernels take no empty matrices (ORT 1.30); no model asks for it",
    ]),
  ),
  "cast between every pair": "no kernels for all pairs (ORT 1.30); models stay in float32",
  "float16 goes in and comes out as bits": "the software adapter has no float16",
  "a failure inside a run names node, scope, shapes and feeds":
    "WebGPU has no failures inside a run: what is out of range reads as another place",
  "the NaN check names the first node that breaks, and lets masks pass":
    "WGSL promises nothing about NaN and infinity",
};
