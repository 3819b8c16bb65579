/** Reports in the SARIF 2.1.0 form that code hosts show. Does not scan. */

import type { FileReport, Severity } from "./report.ts";

const LEVEL: Readonly<Record<Severity, string>> = {
  malicious: "error",
  suspicious: "warning",
  unreadable: "note",
};

/** What each rule is about, in one sentence; rules not listed are told by their first finding. */
const RULES: Readonly<Record<string, string>> = {
  "pickle-name": "A pickle uses a name that is not on the list of names data may use.",
  "pickle-computed-name": "A pickle makes the name of what it imports while loading.",
  "pickle-arguments": "A pickle uses an allowed name with arguments that no writer gives.",
  "pickle-rest": "Bytes follow a pickle that its readers never see.",
  "hidden-pickle": "A file of another kind is a pickle for readers that do not ask.",
  polyglot: "A file is of two kinds at once.",
  template: "A template does more than arrange a conversation.",
  "keras-layer": "A layer runs code when the model is made.",
  "remote-code": "A configuration makes the loader import code.",
  unreadable: "A file could not be judged.",
};

/** One SARIF log of all reports. @param version of the program that scanned */
export function toSarif(reports: readonly FileReport[], { version }: { version: string }): unknown {
  const rules = new Map<string, string>();
  const results = reports.flatMap(({ file, findings }) =>
    findings.map((finding) => {
      const { rule, severity, part, at, effect, why } = finding;
      if (!rules.has(rule)) rules.set(rule, RULES[rule] ?? `${effect}: ${why}.`);
      return {
        ruleId: rule,
        level: LEVEL[severity],
        message: {
          text: `${severity}: ${effect}; ${why}${part ? ` (in ${part}, byte ${at})` : ""}`,
        },
        locations: [
          {
            physicalLocation: {
              artifactLocation: { uri: toUri(file) },
              // Offsets of parts count inside of them, not in the file.
              ...(part === "" ? { region: { byteOffset: at, byteLength: 0 } } : {}),
            },
            ...(part ? { logicalLocations: [{ fullyQualifiedName: part }] } : {}),
          },
        ],
        partialFingerprints: { "finding/v1": `${rule}:${file}:${part}:${at}` },
      };
    }),
  );
  return {
    $schema: "https://json.schemastore.org/sarif-2.1.0.json",
    version: "2.1.0",
    runs: [
      {
        tool: {
          driver: {
            name: "underpaint scan",
            semanticVersion: version,
            rules: [...rules].map(([id, text]) => ({ id, shortDescription: { text } })),
          },
        },
        results,
      },
    ],
  };
}

const toUri = (path: string): string =>
  path
    .split(/[\\/]/)
    .map((name) => encodeURIComponent(name))
    .join("/");
