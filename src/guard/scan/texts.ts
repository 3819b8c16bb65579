/** Text found inside models: templates are judged, everything else is only text. */

import { isTemplate, judgeTemplate } from "./jinja.ts";
import { found, type Part } from "./part.ts";
import { shown } from "./report.ts";

/** Keys and names under which templates lie: what is no Jinja there cannot be judged; elsewhere it is just text. */
const TEMPLATE_KEY = /template|jinja|prompt|\.j2$/i;

/** Judges one text. @param key what it is called, for the report @param at where it begins in the part */
export function scanTexts(part: Part, key: string, text: string, at = 0): void {
  if (!isTemplate(text)) return;
  for (const finding of judgeTemplate(text)) {
    if (finding.severity === "unreadable" && !TEMPLATE_KEY.test(key)) continue;
    found(part, "template", {
      severity: finding.severity,
      at: at + finding.at,
      effect: finding.effect,
      why: `${shown(key, 80)}: ${finding.why}`,
    });
  }
}
