/** The committed golden files hold the arrays of the shared ones, to the byte. */

import { expect } from "vitest";
import { readGolden } from "../read-safetensors.ts";
import { sharedTest } from "../shared.ts";
import { GOLDEN_FILES, golden } from "./golden.ts";

for (const name of GOLDEN_FILES)
  sharedTest(`golden_${name} is whole`, `fixtures/var/golden_${name}.safetensors`, (file) => {
    const { tensors } = readGolden(file);
    const { arrays } = golden(name);
    expect([...arrays.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [array, tensor] of tensors) expect(arrays.get(array), array).toEqual(tensor);
  });
