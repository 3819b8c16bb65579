/** The released models by their layouts: found from names and shapes alone, with the published numbers of parameters. */

import { expect } from "vitest";
import { officialWeights, readLayout } from "../../test/official-like.ts";
import { sharedTest } from "../../test/shared.ts";
import type { Weight } from "../formats/lazy.ts";
import type { VarConfig } from "./config.ts";
import { loadVar } from "./model.ts";

const LAYOUTS = "fixtures/var/layouts";
const VAE_PARAMETERS = 108_948_355;

/** Of the official zoo: parameters, pixels and what else a file tells. Tokenizers have one file for all sizes. */
const ZOO: Readonly<
  Record<string, { parameters: number; size: number; vae?: string; config: Partial<VarConfig> }>
> = {
  var_d16: { parameters: 310_283_520, size: 256, config: { depth: 16, width: 1024, heads: 16 } },
  var_d20: { parameters: 600_917_136, size: 256, config: { depth: 20, width: 1280, heads: 20 } },
  var_d24: { parameters: 1_033_399_360, size: 256, config: { depth: 24, width: 1536, heads: 24 } },
  var_d30: { parameters: 2_010_020_356, size: 256, config: { depth: 30, width: 1920, heads: 30 } },
  var_d36: {
    parameters: 2_353_893_904,
    size: 512,
    config: { depth: 36, width: 2304, heads: 36, sharedAdaLN: true },
  },
  "var_d36 ": {
    parameters: 2_353_893_904,
    size: 512,
    vae: "vae_ch160v4096z32_512pn",
    config: { depth: 36 },
  },
};

for (const [name, { parameters, size, vae = "vae_ch160v4096z32", config }] of Object.entries(ZOO))
  sharedTest(
    `${name.trim()} with ${vae} is loaded without its data and has ${parameters} parameters`,
    [`${LAYOUTS}/${name.trim()}.tsv`, `${LAYOUTS}/${vae}.tsv`],
    async (transformer, tokenizer) => {
      const model = await loadVar({
        var: { tensors: onlySmall(transformer!) },
        vqvae: { tensors: onlySmall(tokenizer!) },
      });
      expect(model.info.parameters).toEqual({ transformer: parameters, tokenizer: VAE_PARAMETERS });
      expect(model.size).toBe(size);
      expect(model.config).toMatchObject({ ...config, attnL2Norm: true, classes: 1000 });
    },
  );

for (const name of ["var_d20", "var_d24"])
  sharedTest(
    `an older file of ${name}, without temperatures, is loaded with plain attention`,
    [`${LAYOUTS}/${name}.tsv`, `${LAYOUTS}/vae_ch160v4096z32.tsv`],
    async (transformer, tokenizer) => {
      const tensors = [...onlySmall(transformer!)].filter(([key]) => !key.includes("scale_mul"));
      const model = await loadVar({
        var: { tensors: new Map(tensors) },
        vqvae: { tensors: onlySmall(tokenizer!) },
      });
      const { parameters, config } = ZOO[name]!;
      const temperatures = config.depth! * config.heads!;
      expect(model.config).toMatchObject({ ...config, attnL2Norm: false });
      expect(model.info.parameters.transformer).toBe(parameters - temperatures);
    },
  );

/** The layout's tensors; reading one of more than 32 MB fails the test. */
const onlySmall = (layout: string): Map<string, Weight> =>
  new Map(
    [...officialWeights(readLayout(layout), 1)].map(([name, weight]) => [
      name,
      {
        ...weight,
        read: async () => {
          const data = await weight.read();
          expect(data.byteLength, name).toBeLessThan(2 ** 25);
          return data;
        },
      },
    ]),
  );
