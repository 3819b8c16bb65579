/** Classifiers from disk: the embedded ones by name ("lab:emoji"), others by file. Runs none of them. */

import { node } from "../formats/builtins.node.ts";
import { InputError } from "../formats/errors.ts";
import { readTensorFile } from "../formats/node.ts";
import { packageRoot } from "../image/embedded.node.ts";
import { type Classifier, readClassifier } from "./classifier.ts";

/** What stands before the name of an embedded classifier. */
export const LAB = "lab:";
const FILE = /^lab-(.+)\.safetensors$/;

const modelsFolder = (): string => node.path.join(packageRoot(), "models");

/** Embedded classifiers by their names, "lab:" included. */
export function labClassifiers(): string[] {
  const { existsSync, readdirSync } = node.fsSync;
  if (!existsSync(modelsFolder())) return [];
  return readdirSync(modelsFolder())
    .sort()
    .flatMap((name) => (FILE.exec(name) ? [LAB + FILE.exec(name)![1]] : []));
}

/** A classifier with where it came from. */
export interface LoadedClassifier extends Classifier {
  /** As it was named. */
  readonly name: string;
  /** First 16 hex digits of SHA-256 of the file. */
  readonly hash: string;
}

/**
 * Loads `lab:<data set>` or a file of `underpaint train classifier` (or the folder of its run).
 * @throws InputError when there is none, or the file holds something else
 */
export async function loadClassifier(name: string): Promise<LoadedClassifier> {
  const file = fileOf(name);
  const classifier = readClassifier(await readTensorFile(file), name);
  const bytes = await node.fs.readFile(file);
  const hash = node.crypto.createHash("sha256").update(bytes).digest("hex").slice(0, 16);
  return { ...classifier, name, hash };
}

function fileOf(name: string): string {
  const { existsSync, statSync } = node.fsSync;
  if (name.startsWith(LAB)) {
    if (labClassifiers().includes(name))
      return node.path.join(modelsFolder(), `lab-${name.slice(LAB.length)}.safetensors`);
    throw new InputError(
      `there is no classifier "${name}"; embedded are ${labClassifiers().join(", ") || "none"}, or train one: underpaint train classifier DATA`,
      { name },
    );
  }
  const inRun = node.path.join(name, "classifier.safetensors");
  if (!existsSync(name))
    throw new InputError(
      `${name} is no file, and no classifier of ours (${labClassifiers().join(", ")})`,
      { name },
    );
  return statSync(name).isDirectory() ? inRun : name;
}
