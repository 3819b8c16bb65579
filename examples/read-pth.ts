/** Lists the tensors of a PyTorch checkpoint without running anything in it. Run: npx tsx examples/read-pth.ts FILE */

import { InputError, readTensorFile } from "underpaint";

const file = process.argv[2];
if (!file) throw new Error("name a .pth, .pt or .safetensors file");
try {
  const { format, tensors } = await readTensorFile(file);
  console.log(`${file}: ${format}, ${tensors.size} tensors`);
  for (const [name, { dtype, shape }] of tensors) console.log(`  ${name} ${dtype} [${shape}]`);
} catch (error) {
  // A file that asks for more than plain data and tensors is refused, with the reason.
  if (!(error instanceof InputError)) throw error;
  console.log(`refused: ${error.message}`);
  process.exitCode = 2;
}
