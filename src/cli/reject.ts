/** `sample --reject`: a classifier chooses among drawn pictures. How it chooses is eval/reject.ts. */

import { classifierClass } from "../eval/classifier.ts";
import { loadClassifier } from "../eval/classifier-file.ts";
import { labNetwork } from "../eval/lab-network.ts";
import { classScores, keepBest } from "../eval/reject.ts";
import { InputError } from "../formats/errors.ts";
import { pictureSize } from "../formats/picture-size.ts";
import type { Var } from "../image/model.ts";
import { openBackend } from "../tensor/backend.ts";
import type { Made, Settings } from "./pictures.ts";

/** Reads all candidates, gives the best `count` in their order. */
export type Judge = (drawn: AsyncIterable<Made>, count: number) => AsyncGenerator<Made>;

/** The judge that the flags ask for; none where nothing is rejected. @throws InputError where classes do not fit */
export async function openJudge(
  model: Var,
  { reject: share, classifier: name }: { reject?: number; classifier: string },
): Promise<{ judge?: Judge; rejection?: NonNullable<Settings["rejection"]> }> {
  if (share === undefined) return {};
  const classifier = await loadClassifier(name);
  // Before anything is drawn: every class of the model must be one of the classifier's.
  const classes = model.labels.map((label) => classifierClass(classifier.config, label));
  const judge: Judge = async function* (drawn, count) {
    const network = labNetwork(classifier, { backend: await openBackend() });
    const all: Made[] = [];
    const scores: number[] = [];
    try {
      for await (const made of drawn) {
        const wanted = classes[made.class];
        if (wanted === undefined)
          throw new InputError("--reject needs classes to look for, and label none is no class");
        const picture = made.pictures.at(-1)!;
        const set = { count: 1, ...pictureSize(picture), pixels: picture.data };
        scores.push((await classScores(set, [wanted], network))[0]!);
        all.push(made);
      }
    } finally {
      await network.release();
    }
    // Rivals are those that were to show the same: "food/fluent" and "food/noto" are both food to the classifier.
    const kinds = all.map((made) => classes[made.class]!);
    for (const i of keepBest(scores, kinds, Math.min(count, all.length))) yield all[i]!;
  };
  return { judge, rejection: { share, classifier: name, hash: classifier.hash } };
}
