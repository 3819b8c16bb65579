/** Looks over a model's shoulder while it samples: logits as they were before guidance. */

import type { Tensor } from "../src/formats/dtype.ts";
import type { Var } from "../src/image/model.ts";

/** Logits of every scale, all rows, R T V; filled while the model samples. Guidance mixes what the head reads. */
export async function rawLogits(model: Var): Promise<Tensor[]> {
  const raw: Tensor[] = [];
  const [session, head] = [await model.session("scale"), await model.session("head")];
  const run = session.run.bind(session);
  const logitsOf = head.run.bind(head);
  session.run = async (feeds, options) => {
    const results = await run(feeds, options);
    const y = results.y!;
    const [R, T] = y.shape as [number, number];
    const shape = [R, T, model.config.codes];
    const data = new Float32Array(R * T * model.config.codes);
    const logits: Tensor = { dtype: "float32", shape, data };
    raw.push((await logitsOf({ y }, { into: { logits } })).logits!);
    return results;
  };
  return raw;
}
