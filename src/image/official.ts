/** The checkpoints that the authors of VAR released: names, files, sizes, where they lie. Fetches nothing. */

/** A file of the official repository. */
export interface OfficialFile {
  readonly file: string;
  /** Bytes of its tensors in float32; the file is a little longer. */
  readonly bytes: number;
}

export interface OfficialModel {
  readonly name: string;
  readonly depth: number;
  /** Side of the pictures in pixels. */
  readonly size: number;
  readonly classes: number;
  readonly var: OfficialFile;
  readonly vqvae: OfficialFile;
}

/** The one tokenizer of all of them. */
const TOKENIZER: OfficialFile = { file: "vae_ch160v4096z32.pth", bytes: 435_957_260 };

const released = (depth: number, size: number, bytes: number): OfficialModel => ({
  name: `var-d${depth}`,
  depth,
  size,
  classes: 1000, // ImageNet's, in its order
  var: { file: `var_d${depth}.pth`, bytes },
  vqvae: TOKENIZER,
});

export const OFFICIAL_MODELS: readonly OfficialModel[] = Object.freeze([
  released(16, 256, 1_243_054_656),
  released(20, 256, 2_405_625_984),
  released(24, 256, 4_135_599_936),
  released(30, 256, 8_042_166_864),
  released(36, 512, 9_435_995_712),
]);

/** Fewest and most bytes that such a file may have: half precision is shorter, a login page much more so. */
export const plausibleSize = ({ bytes }: OfficialFile): readonly [number, number] => [
  Math.floor(bytes * 0.4),
  Math.ceil(bytes * 1.5) + 2 ** 20,
];

const HUB = "https://huggingface.co";
const REPOSITORY = "FoundationVision/var";

/**
 * Where to ask for an official file, in this order: the folders in UNDERPAINT_MODEL_MIRROR (addresses divided by commas
 * or spaces), else the repository on the hub, whose address HF_ENDPOINT changes.
 */
export function officialSources(
  { file }: OfficialFile,
  env: Readonly<Record<string, string | undefined>>,
): string[] {
  const mirrors = (env.UNDERPAINT_MODEL_MIRROR ?? "").split(/[\s,]+/).filter(Boolean);
  const hub = `${bare(env.HF_ENDPOINT || HUB)}/${REPOSITORY}/resolve/main`;
  return (mirrors.length > 0 ? mirrors : [hub]).map((folder) => `${bare(folder)}/${file}`);
}

const bare = (address: string): string => address.replace(/\/+$/, "");
