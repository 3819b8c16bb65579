/** Judges Jinja templates: names, attributes, filters and calls against lists, after folding constants. */

import { InputError } from "./bytes.ts";
import type { Arg, Node } from "./jinja-expression.ts";
import { type Folded, fold } from "./jinja-fold.ts";
import { parseTemplate, type Tag } from "./jinja-parse.ts";
import { shown } from "./report.ts";

export interface TemplateFinding {
  readonly severity: "malicious" | "suspicious" | "unreadable";
  readonly at: number;
  readonly effect: string;
  readonly why: string;
}

const words = (text: string): ReadonlySet<string> => new Set(text.trim().split(/\s+/));

/** Functions that renderers of chat templates hand in, and Jinja's own harmless ones. */
const FUNCTIONS = words(
  `namespace range raise_exception strftime_now dict joiner cycler caller super loop`,
);
/** Objects whose attributes lead out of the template. */
const DOORS = words(`cycler joiner lipsum namespace self range dict request config session g url_for
  get_flashed_messages application app current_app environ environment context caller raise_exception strftime_now
  os sys subprocess builtins importlib`);
const METHODS =
  words(`strip lstrip rstrip split rsplit splitlines join replace startswith endswith items keys values
  get upper lower title capitalize swapcase count index find rfind rindex isdigit isalpha isalnum isspace isnumeric
  isdecimal islower isupper istitle isidentifier zfill center ljust rjust append extend insert pop update copy reverse
  sort remove clear setdefault partition rpartition removeprefix removesuffix strftime isoformat format encode
  expandtabs casefold discard add date time current next cycle tojson to_json model_dump`);
const FILTERS =
  words(`abs batch capitalize center count d default dictsort e escape filesizeformat first float
  forceescape format groupby indent int items join last length list lower map max min pprint random reject rejectattr
  replace reverse round safe select selectattr slice sort string striptags sum title tojson trim truncate unique upper
  urlencode urlize wordcount wordwrap xmlattr from_json fromjson to_json strftime split startswith endswith`);
const TESTS =
  words(`boolean callable defined divisibleby eq equalto escaped even false filter float ge gt greaterthan in
  integer iterable le lower lt lessthan mapping ne none number odd sameas sequence string test true undefined upper
  not contains starting_with startswith`);
const STATEMENTS =
  words(`print set endset for endfor else elif if endif macro endmacro call endcall filter endfilter with
  endwith raw endraw verbatim endverbatim block endblock do break continue generation endgeneration autoescape
  endautoescape trans endtrans pluralize`);
const LOADERS = words("include import from extends");

/** Text inside of Python objects' special names. */
const DUNDER = /__\w*[A-Za-z]\w*__|^__\w+|\w__$|^_[A-Za-z]\w*__\w/;
/** Special names that stand for an attack wherever they stand. */
const SPECIAL =
  /__(?:class|globals|builtins|import|subclasses|mro|bases?|init|dict|getattribute|reduce(?:_ex)?|code|closure|self|module|loader|spec|call|getitem|new|del|enter|file|name|doc|weakref|func|wrapped)__/;

const OUT =
  "reaches Python's internals and can run commands of its author when the template is rendered";

interface State {
  readonly findings: TemplateFinding[];
  /** Names with a constant value; undefined once they may be something else. */
  readonly known: Map<string, Folded>;
  readonly defined: Set<string>;
  readonly macros: Set<string>;
}

/** Loops of more rounds than any conversation has turns. */
const MAX_RANGE = 10_000;

/** Whether text holds a whole tag. One that does not end is an error for Jinja: nothing of it is rendered. */
export function isTemplate(text: string): boolean {
  for (const [open, close] of [
    ["{{", "}}"],
    ["{%", "%}"],
  ] as const) {
    const at = text.indexOf(open);
    if (at >= 0 && text.indexOf(close, at + 2) >= 0) return true;
  }
  return false;
}

/** All findings of one template. Never throws for what the template holds. */
export function judgeTemplate(template: string): TemplateFinding[] {
  const state: State = { findings: [], known: new Map(), defined: new Set(), macros: new Set() };
  let tags: Tag[];
  try {
    tags = parseTemplate(template);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    const special =
      SPECIAL.exec(template) ??
      /\{%[-+]?\s*(?:include|import|extends)\b|\|\s*attr\s*\(/.exec(template);
    return [
      special
        ? {
            severity: "malicious",
            at: special.index,
            effect: OUT,
            why: `holds ${shown(special[0], 40)}`,
          }
        : { severity: "unreadable", at: 0, effect: "cannot be judged", why: error.message },
    ];
  }
  for (const { macro, defines } of tags) {
    if (macro) state.macros.add(macro);
    for (const name of defines) state.defined.add(name);
  }
  for (const tag of tags) judgeTag(state, tag);
  return state.findings.slice(0, 20);
}

function note(
  state: State,
  severity: TemplateFinding["severity"],
  finding: Omit<TemplateFinding, "severity">,
): void {
  if (!state.findings.some((f) => f.why === finding.why))
    state.findings.push({ severity, ...finding });
}

function judgeTag(state: State, tag: Tag): void {
  const { word, at, nodes, defines, value } = tag;
  if (LOADERS.has(word))
    note(state, "malicious", {
      at,
      effect: "loads another file of the machine it is rendered on",
      why: `the statement ${word}`,
    });
  else if (!STATEMENTS.has(word))
    note(state, "suspicious", {
      at,
      effect: "does something unknown",
      why: `the statement ${shown(word, 40)}`,
    });
  for (const node of nodes) judge(state, node);
  if (defines.length === 1 && value) {
    const folded = fold(state.known, value);
    state.known.set(
      defines[0]!,
      word === "for" && Array.isArray(folded) ? folded.join("") : folded,
    );
  } else for (const name of defines) state.known.delete(name);
}

/** Checks one expression and everything below it. */
function judge(state: State, node: Node): void {
  RULES[node.kind](state, node as never);
}

type Rules = {
  readonly [K in Node["kind"]]: (state: State, node: Extract<Node, { kind: K }>) => void;
};

const each = (state: State, args: readonly Arg[]) => {
  for (const { name, value } of args) {
    judge(state, value);
    // dict(__cl=x, ass__=x) | join makes text of names.
    if (name !== undefined && /__|^_|_$/.test(name)) key(state, `__${name}`, value.at);
  }
};

const RULES: Rules = {
  const: (state, { value, at }) => {
    if (typeof value === "string" && SPECIAL.test(value))
      note(state, "malicious", {
        at,
        effect: OUT,
        why: `the text ${JSON.stringify(shown(value, 60))} names Python's internals`,
      });
  },
  name: (state, { name, at }) => key(state, name, at),
  list: (state, { items }) => items.forEach((item) => void judge(state, item)),
  dict: (state, { items }) => items.flat().forEach((item) => void judge(state, item)),
  slice: (state, { parts }) => {
    for (const part of parts) if (part) judge(state, part);
  },
  attr: (state, { of, name, at }) => {
    judge(state, of);
    door(state, of, name, at);
    key(state, name, at);
  },
  item: (state, { of, key: index, at }) => {
    judge(state, of);
    judge(state, index);
    const folded = fold(state.known, index);
    if (typeof folded === "string") {
      key(state, folded, at);
      door(state, of, folded, at);
    } else if (folded === undefined && hasUnderscores(index))
      note(state, "malicious", {
        at,
        effect: OUT,
        why: "a key is put together from pieces with underscores",
      });
  },
  call: (state, { of, args, at }) => {
    judge(state, of);
    each(state, args);
    if (of.kind === "name") {
      const { name } = of;
      if (!FUNCTIONS.has(name) && !state.macros.has(name) && !state.defined.has(name))
        note(state, "suspicious", {
          at,
          effect: "calls a function that no renderer of chats hands in",
          why: `${shown(name, 40)}() is not on the list`,
        });
      if (name === "range") {
        const counts = args.map(({ value }) => fold(state.known, value));
        if (counts.some((n) => typeof n === "number" && Math.abs(n) > MAX_RANGE))
          note(state, "suspicious", {
            at,
            effect: "keeps the renderer busy for very long",
            why: `range(${counts.join(", ")})`,
          });
      }
    } else if (of.kind === "attr" && !METHODS.has(of.name))
      note(state, "suspicious", {
        at,
        effect: "calls a method that templates do not need",
        why: `.${shown(of.name, 40)}() is not on the list`,
      });
    else if (of.kind === "item" && typeof fold(state.known, of.key) === "string")
      note(state, "suspicious", {
        at,
        effect: "calls something it looks up by text",
        why: `[${JSON.stringify(fold(state.known, of.key))}]()`,
      });
    if (of.kind === "attr" && of.name === "format") formatted(state, fold(state.known, of.of), at);
  },
  filter: (state, { of, name, args, at }) => {
    judge(state, of);
    each(state, args);
    if (name === "attr") {
      const folded = args[0] && fold(state.known, args[0].value);
      if (typeof folded === "string" && !DUNDER.test(folded)) return;
      note(state, "malicious", {
        at,
        effect: OUT,
        why: "the filter attr with a name that is computed or special",
      });
    } else if (!FILTERS.has(name))
      note(state, "suspicious", {
        at,
        effect: "uses a filter that is not Jinja's",
        why: `the filter ${shown(name, 40)}`,
      });
    if (name === "format") formatted(state, fold(state.known, of), at);
    for (const arg of args) {
      const folded = fold(state.known, arg.value);
      if (
        typeof folded === "string" &&
        (name === "map" || name.endsWith("attr") || arg.name === "attribute")
      ) {
        for (const part of folded.split(".")) key(state, part, at);
        if (name === "map" && folded === "attr")
          note(state, "malicious", {
            at,
            effect: OUT,
            why: "map('attr') reads attributes by text",
          });
      }
    }
  },
  test: (state, { of, name, args, at }) => {
    judge(state, of);
    each(state, args);
    if (!TESTS.has(name))
      note(state, "suspicious", {
        at,
        effect: "uses a test that is not Jinja's",
        why: `the test ${shown(name, 40)}`,
      });
  },
  op: (state, { op, args, at }) => {
    for (const arg of args) judge(state, arg);
    const [a, b] = args.map((arg) => fold(state.known, arg));
    const big =
      op === "**"
        ? typeof b === "number" && b > 64
        : op === "*" &&
          (Number(a) > 1e6 || Number(b) > 1e6) &&
          (typeof a === "string" || typeof b === "string" || Array.isArray(a));
    if (big)
      note(state, "suspicious", {
        at,
        effect: "fills memory when it is rendered",
        why: `a product with ${String(b).slice(0, 20)}`,
      });
  },
};

/** Names, attributes and keys must not be Python's special ones. */
function key(state: State, name: string, at: number): void {
  if (
    SPECIAL.test(name) ||
    DUNDER.test(name) ||
    /^_[A-Za-z]+_{1,2}[a-z]|^_module$|^func_(globals|code)$|^(gi|cr|ag)_(frame|code)$|^tb_frame$|^f_(globals|builtins|locals|back|code)$/.test(
      name,
    )
  )
    note(state, "malicious", { at, effect: OUT, why: `reads ${shown(name, 60)}` });
}

/** Attributes of Jinja's and frameworks' own objects lead to Python's modules. */
function door(state: State, of: Node, name: string, at: number): void {
  if (of.kind !== "name" || !DOORS.has(of.name) || state.defined.has(of.name)) return;
  if (
    of.name === "request" ||
    of.name === "config" ||
    of.name === "context" ||
    of.name === "session"
  )
    if (!DUNDER.test(name) && of.name !== "request") return; // plain data of the caller
  note(state, "malicious", {
    at,
    effect: OUT,
    why: `reads ${of.name}.${shown(name, 40)}, an object of the renderer itself`,
  });
}

/** "{0.__class__}" reads attributes through text. */
function formatted(state: State, text: Folded, at: number): void {
  if (typeof text === "string" && /\{[^{}]*[.[][^{}]*_[^{}]*\}/.test(text))
    note(state, "malicious", { at, effect: OUT, why: "a format text reads attributes" });
}

const hasUnderscores = (node: Node): boolean => {
  if (node.kind === "const")
    return typeof node.value === "string" && /__|^_$|^_[a-z]|[a-z]_$/.test(node.value);
  if (node.kind === "op")
    return (
      (node.op === "~" || node.op === "+" || node.op === "%") && node.args.some(hasUnderscores)
    );
  if (node.kind === "filter")
    return hasUnderscores(node.of) || node.args.some(({ value }) => hasUnderscores(value));
  if (node.kind === "list") return node.items.some(hasUnderscores);
  if (node.kind === "call" && node.of.kind === "attr")
    return hasUnderscores(node.of.of) || node.args.some(({ value }) => hasUnderscores(value));
  return false;
};
