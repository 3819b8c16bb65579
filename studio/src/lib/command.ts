/** The command line that draws the same as a request. */

import type { DrawRequest, ModelInfo } from "../engine/engine.ts";

const plain = /^[\w./:=@%+,-]+$/;
const word = (text: string): string =>
  plain.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;

/** What the model does by itself is left out. */
export function sampleCommand(request: DrawRequest, model: ModelInfo): string {
  const { label, count = 1, seed = 0, first = 0, branches = [] } = request;
  const own: readonly (readonly [flag: string, value: number | undefined, own: number])[] = [
    ["--guidance", request.guidance, model.guidance],
    ["--top-k", request.top_k, model.top_k],
    ["--top-p", request.top_p, model.top_p],
    ["--temperature", request.temperature, model.temperature],
  ];
  return [
    "underpaint sample",
    ...(label ? [word(label)] : []),
    `--model ${word(model.id)}`,
    `--seed ${seed}`,
    ...(first > 0 ? [`--first ${first}`] : []),
    ...(count > 1 ? [`--count ${count}`] : []),
    ...own.flatMap(([flag, value, usual]) =>
      value === undefined || value === usual ? [] : [`${flag} ${value}`],
    ),
    ...branches.map(({ from, name }) => `--branch ${word(`${from}:${name}`)}`),
    ...(model.precision === "int8" ? ["--precision int8"] : []),
  ].join(" ");
}
