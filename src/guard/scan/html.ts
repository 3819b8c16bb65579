/** One self-contained page of a scan: a tree of files with their verdicts and findings. Loads nothing from anywhere. */

import { type FileReport, VERDICTS, type Verdict, worst } from "./report.ts";

const escaped = (text: string): string => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

interface Folder {
  readonly folders: Map<string, Folder>;
  readonly files: FileReport[];
}

const folder = (): Folder => ({ folders: new Map(), files: [] });

function tree(reports: readonly FileReport[]): Folder {
  const root = folder();
  for (const report of reports) {
    const names = report.file.split(/[\\/]/).filter((name) => name !== "");
    let at = root;
    for (const name of names.slice(0, -1)) {
      if (!at.folders.has(name)) at.folders.set(name, folder());
      at = at.folders.get(name)!;
    }
    at.files.push(report);
  }
  return root;
}

const verdictOf = ({ folders, files }: Folder): Verdict =>
  worst([...files.map((f) => f.verdict), ...[...folders.values()].map(verdictOf)]);

const badge = (verdict: Verdict): string => `<b class="${verdict}">${verdict}</b>`;

function showFolder(node: Folder): string {
  const folders = [...node.folders].map(([name, inner]) => {
    const verdict = verdictOf(inner);
    const open = verdict === "clean" ? "" : " open";
    return `<details${open}><summary>${escaped(name)}/ ${badge(verdict)}</summary>${showFolder(inner)}</details>`;
  });
  return `<div>${folders.join("")}${node.files.map(showFile).join("")}</div>`;
}

function showFile({ file, verdict, format, bytes, findings, omitted }: FileReport): string {
  const name = escaped(file.split(/[\\/]/).at(-1) ?? file);
  const head = `${name} ${badge(verdict)} <i>${escaped(format)}, ${bytes.toLocaleString("en-US")} bytes</i>`;
  if (findings.length === 0) return `<p>${head}</p>`;
  const rows = findings.map(
    (f) =>
      `<tr><td>${badge(f.severity)}<td>${escaped(f.part || "-")}<td class="n">${f.at}<td>${escaped(f.effect)}<td>${escaped(f.why)}<td><code>${escaped(f.rule)}</code>`,
  );
  const more = omitted > 0 ? `<p>and ${omitted} more</p>` : "";
  return `<details open><summary>${head}</summary><table><tr><th>verdict<th>part<th>byte<th>what it would do<th>why<th>rule${rows.join("")}</table>${more}</details>`;
}

const STYLE = `:root{color-scheme:light dark;--line:#8884}body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
details>div,details>table{margin-left:1.2rem}p{margin:.2rem 0 .2rem 1rem}summary{cursor:pointer}i{opacity:.7;font-style:normal;font-size:.85em}
b{font-weight:600;font-size:.8em;padding:.05em .5em;border-radius:1em;color:#fff}.malicious{background:#b3261e}.suspicious{background:#9a5b00}.unreadable{background:#5f6368}.clean{background:#1b6e3c}
table{border-collapse:collapse;font-size:.9em}td,th{border-top:1px solid var(--line);padding:.25em .6em;text-align:left;vertical-align:top;overflow-wrap:anywhere}.n{font-variant-numeric:tabular-nums;text-align:right}`;

/** The page. @param title of the page, e.g. what was scanned */
export function toHtml(reports: readonly FileReport[], { title }: { title: string }): string {
  const counts = VERDICTS.map((v) => [v, reports.filter((r) => r.verdict === v).length] as const);
  const summary = counts
    .filter(([, n]) => n > 0)
    .reverse()
    .map(([v, n]) => `${badge(v)} ${n}`)
    .join(" &nbsp; ");
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><title>${escaped(title)}</title><style>${STYLE}</style><h1>${escaped(title)}</h1><p>${summary || "no files"}</p>${showFolder(tree(reports))}</html>\n`;
}
