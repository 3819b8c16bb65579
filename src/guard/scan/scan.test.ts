/** The scanner in its public form: what is found, what is not, and what loads. */

import { describe, expect, test } from "vitest";
import { pickle, text, zip } from "../../../test/guard/samples.ts";
import { LIMITS, loadModel, scanSource, toHtml, toSarif } from "./index.ts";

const verdict = async (bytes: Uint8Array, name = "x.pkl") =>
  (await scanSource(bytes, { name })).verdict;
const findings = async (bytes: Uint8Array, name = "x.pkl") =>
  (await scanSource(bytes, { name })).findings;

const SYSTEM = "cos\nsystem\n(S'true'\ntR.";

describe("pickle", () => {
  test("plain data is clean in every protocol", async () => {
    expect(await verdict(text("(dp0\nVa\np1\nI1\ns."))).toBe("clean");
    expect(await verdict(pickle(4, "}", "\x8c\x01a", "K\x01", "s"))).toBe("clean");
  });

  test("a call says what it would do, and where", async () => {
    const [first] = await findings(text(SYSTEM));
    expect(first).toMatchObject({ rule: "pickle-name", severity: "malicious", at: 21 });
    expect(first!.effect).toContain('calls os.system("true")');
  });

  const EVIL: Readonly<Record<string, string>> = {
    "a name that is only imported": "cos\nsystem\n.",
    INST: "(S'true'\nios\nsystem\n.",
    OBJ: "(cos\nsystem\nS'true'\no.",
    "OBJ whose result is popped": "(cos\nsystem\nS'true'\no0N.",
    NEWOBJ: "cos\nsystem\nS'true'\n\x85\x81.",
    NEWOBJ_EX: "\x80\x04cos\nsystem\n\x8c\x04true\x85}\x92.",
    STACK_GLOBAL: "\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
    "STACK_GLOBAL through the memo":
      "\x80\x04\x8c\x02os\x940\x8c\x06system\x940\x8c\x01x0h\x00h\x01\x93\x8c\x04true\x85R.",
    "a memo slot that is overwritten":
      "\x80\x04\x8c\x01aq\x000\x8c\x02osq\x000h\x00\x8c\x06system\x93\x8c\x04true\x85R.",
    "names as escaped text": "S'\\x6fs'\n\x8c\x06system\x93S'true'\n\x85R.",
    "a call before an unknown opcode": "cos\nsystem\n(S'true'\ntR\xf0",
    "a call before the file ends": "cos\nsystem\n(S'true'\ntR",
    "a call before a length that lies": "cos\nsystem\n(S'true'\ntRB\xff\xff\xff\x7f.",
    "a second pickle": "N.cos\nsystem\n(S'true'\ntR.",
    "a pickle after raw bytes": `N.\x00\x01\x02\xff${"\x80\x02"}cos\nsystem\n(S'true'\ntR.`,
    "an allowed class with an unheard-of argument": "c_codecs\nencode\n(S'x'\nS'rot13'\ntR.",
    "a dotted walk": "\x80\x04\x8c\x06random\x8c\x0a_os.system\x93\x8c\x04true\x85R.",
    "a name of Python 2": "c__builtin__\neval\n(S'1'\ntR.",
    "the extension registry": "\x82\x01(tR.",
    "state for a function": "cos\nsystem\n(N}S'a'\nI1\nstb.",
    "an integer with a NUL": "I1\x00junk\n0cos\nsystem\n(S'true'\ntR.",
    "a computed name": "\x80\x04cbuiltins\ngetattr\n\x8c\x01a\x8c\x01b\x86R\x8c\x01c\x93.",
  };
  for (const [what, stream] of Object.entries(EVIL))
    test(`${what} is found`, async () => {
      expect(["malicious", "suspicious"]).toContain(await verdict(text(stream)));
    });

  test("the same stream is found under any name", async () => {
    for (const name of [
      "x.npy",
      "x.gguf",
      "x.json",
      "x.txt",
      "x.png",
      "x.onnx",
      "x.safetensors",
      "x",
      "x.h5",
    ])
      expect(await verdict(text(SYSTEM), name), name).toBe("malicious");
  });

  test("prose is no pickle", async () => {
    expect(await verdict(text("copyright\nfoo\nbar\n"), "LICENSE")).toBe("clean");
    expect(await verdict(text("cos\nin the morning\n"), "poem.txt")).toBe("clean");
  });

  test("classes of libraries are suspicious, not malicious", async () => {
    expect(await verdict(text("csklearn.svm\nSVC\n)\x81."))).toBe("suspicious");
  });

  test("frames that readers see differently are found", async () => {
    expect(await verdict(text("\x80\x04\x95\x02\0\0\0\0\0\0\0C\x04cos\nN."))).not.toBe("clean");
  });
});

describe("containers", () => {
  const evil = text(SYSTEM);

  test("a pickle is found in a zip, in a zip in a zip, and in front of one", async () => {
    expect(await verdict(zip([["a.pkl", evil]]), "x.zip")).toBe("malicious");
    expect(await verdict(zip([["b.zip", zip([["a", evil]])]]), "x.zip")).toBe("malicious");
    const tail = zip([["a.txt", text("hi")]]);
    expect(await verdict(new Uint8Array([...evil, ...tail]), "x.pkl")).toBe("malicious");
  });

  test("an honest archive is clean; each lie about it is found", async () => {
    const honest = zip([
      ["a.txt", text("hi")],
      ["b/c.txt", text("ho")],
    ]);
    expect(await verdict(honest, "x.zip")).toBe("clean");
    const end = honest.length - 22;
    // What is lied about, at which byte, and by which difference.
    const lies: readonly (readonly [string, number, number])[] = [
      ["a wrong CRC", 14, 1],
      ["another local name", 30, 2],
      ["a flag", 6, 1],
      ["an entry count", end + 10, 3],
      ["another disk", end + 4, 1],
    ];
    for (const [what, at, by] of lies) {
      const bytes = Uint8Array.from(honest, (b, i) => (i === at ? b ^ by : b));
      expect(await verdict(bytes, "x.zip"), what).toBe("suspicious");
    }
    expect(await verdict(new Uint8Array([...honest, 1]), "x.zip")).toBe("suspicious");
    expect(await verdict(new Uint8Array([1, 2, 3, ...honest]), "x.zip")).toBe("suspicious");
  });

  test("names that leave the folder are malicious", async () => {
    for (const name of ["../a", "/a", "C:a", "a\\b"])
      expect(await verdict(zip([[name, text("hi")]]), "x.zip"), name).toBe("malicious");
    expect(
      await verdict(
        zip([
          ["A", text("1")],
          ["a", text("2")],
        ]),
        "x.zip",
      ),
    ).toBe("suspicious");
  });

  test("budgets hold: nesting deeper than allowed is a finding, not a hang", async () => {
    let bytes: Uint8Array = text("hi");
    for (let i = 0; i < LIMITS.maxDepth + 3; i++) bytes = zip([["a.zip", bytes]]);
    expect(await verdict(bytes, "x.zip")).toBe("suspicious");
  });
});

describe("templates and configurations", () => {
  const config = (template: string) => text(JSON.stringify({ chat_template: template }));
  const CLEAN = [
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m.content | trim }}{% endfor %}",
    "{%- set ns = namespace(i=0) -%}{%- for t in tools %}{{ t | tojson(indent=4) }}{% set ns.i = ns.i + 1 %}{% endfor %}",
    "{% macro f(x, y=1) %}{{ x.split('</a>')[-1].lstrip('\\n') }}{% endmacro %}{{ f(messages[0].content) }}",
    "{{ bos_token if add else '' }}{{ strftime_now('%d') }}{% if a is not none and b in c %}x{% endif %}",
    "{% raw %}{{ __class__ }}{% endraw %}{# __globals__ #}",
  ];
  for (const template of CLEAN)
    test(`clean: ${template.slice(0, 50)}`, async () => {
      expect(await findings(config(template), "tokenizer_config.json")).toEqual([]);
    });
  const EVIL = [
    "{{ ''.__class__.__mro__ }}",
    "{{ x['__cl' ~ 'ass__'] }}",
    "{{ x['\\x5f\\x5fclass\\x5f\\x5f'] }}",
    "{% set a = '__cla' %}{{ x[a + 'ss__'] }}",
    "{{ x['__ssalc__'[::-1]] }}",
    "{{ x[['__class', '__']|join] }}",
    "{{ x|attr('__class__') }}",
    "{{ cycler.__init__.__globals__.os }}",
    "{% include '/etc/passwd' %}",
    "{{ lipsum.os }}",
    "{{ '{0.__class__}'.format(x) }}",
  ];
  for (const template of EVIL)
    test(`malicious: ${template}`, async () => {
      expect(await verdict(config(template), "tokenizer_config.json")).toBe("malicious");
    });

  test("tags, targets and maps that import code are found", async () => {
    expect(await verdict(text("a: !!python/object/apply:os.system ['x']\n"), "a.yaml")).toBe(
      "malicious",
    );
    expect(await verdict(text("_target_: os.system\n"), "a.yaml")).toBe("malicious");
    expect(await verdict(text("_target_: torch.nn.Linear\n"), "a.yaml")).toBe("clean");
    expect(await verdict(text('{"auto_map": {"AutoModel": "m.M"}}'), "config.json")).toBe(
      "suspicious",
    );
    expect(await verdict(text('{"class_name": "Lambda", "config": {}}'), "m.json")).toBe(
      "malicious",
    );
    expect(
      await verdict(text('{"class_name": "Dense", "config": {"name": "Lambda"}}'), "m.json"),
    ).toBe("clean");
  });
});

describe("loading", () => {
  test("what scans clean loads as data, lists that hold themselves included", async () => {
    const { value } = await loadModel(text("(lp0\ng0\na."), { name: "x.pkl" });
    expect(Array.isArray(value) && value[0] === value).toBe(true);
  });
  test("what does not scan clean does not load", async () => {
    for (const stream of [SYSTEM, "NN.", "N.N.", "NP1\n.", "N"])
      await expect(loadModel(text(stream), { name: "x.pkl" }), stream).rejects.toThrow(/^load: /);
  });
});

test("reports become SARIF and a page without foreign markup", async () => {
  const report = await scanSource(text(SYSTEM), { name: "a<b>.pkl" });
  expect(JSON.stringify(toSarif([report], { version: "1.0.0" }))).toContain(
    '"ruleId":"pickle-name"',
  );
  const page = toHtml([report], { title: "<script>" });
  expect(page).not.toContain("<script>");
  expect(page).not.toContain("a<b>");
});
