/** Files of every other kind that would run or read something when they are loaded, one for each technique. Harmless payloads. */

import { deflateSync, gzipSync } from "node:zlib";
import {
  anyZip,
  field,
  gguf,
  message,
  npy,
  npyHeader,
  safetensors,
  tar,
  type ZipEnd,
  type ZipMember,
} from "./build.ts";
import { EVIL, EVIL4, HONEST } from "./evil-pickles.ts";
import { join, text, zip } from "./samples.ts";

export interface EvilFile {
  readonly what: string;
  readonly name: string;
  readonly bytes: Uint8Array;
}
const file = (what: string, name: string, bytes: Uint8Array): EvilFile => ({ what, name, bytes });
const utf16 = (s: string) =>
  Uint8Array.from([...s].flatMap((c) => [c.charCodeAt(0) & 255, c.charCodeAt(0) >> 8]));
const utf8 = (s: string) => new TextEncoder().encode(s);

// ---- torch ------------------------------------------------------------------------------------

const VERSION: ZipMember = { name: "m/version", content: text("3\n") };
const torchZip = (pickle: Partial<ZipMember> & { content: Uint8Array }, end?: ZipEnd): Uint8Array =>
  anyZip([{ name: "m/data.pkl", ...pickle }, VERSION], end);

/** The five pickles of the legacy container, one of them replaced. */
function legacy(which: number, evil: Uint8Array): Uint8Array {
  const parts = [
    text("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."),
    text("\x80\x02M\xe9\x03."),
    text(
      "\x80\x02}q\x00(X\x10\0\0\0protocol_versionq\x01M\xe9\x03X\r\0\0\0little_endianq\x02\x88u.",
    ),
    HONEST,
    text("\x80\x02]q\x00."),
  ];
  return join(parts.map((part, i) => (i === which ? evil : part)));
}

const COUNT = text("\x80\x02K\x00.");
const torchTar = (evil: string): Uint8Array =>
  tar(
    [
      ["sys_info", HONEST],
      ["pickle", HONEST],
      ["storages", COUNT],
      ["tensors", COUNT],
    ].map(([name, content]) => ({
      name: name as string,
      content:
        name === evil
          ? name === "storages" || name === "tensors"
            ? join([text("\x80\x02K\x01."), EVIL])
            : EVIL
          : (content as Uint8Array),
    })),
  );

const TORCH: readonly EvilFile[] = [
  file("data.pkl", "a.pt", torchZip({ content: EVIL4 })),
  file("data.pkl, packed", "a.pt", torchZip({ content: EVIL, deflate: true })),
  file("DATA.PKL", "a.pt", torchZip({ name: "m/DATA.PKL", content: EVIL })),
  file("data.pkl deep inside", "a.pt", torchZip({ name: "x/y/z/data.pkl", content: EVIL })),
  file("data.pkl at the top", "a.pt", torchZip({ name: "data.pkl", content: EVIL })),
  file(
    "two data.pkl, one honest",
    "a.pt",
    anyZip([
      { name: "m/data.pkl", content: HONEST },
      { name: "n/data.pkl", content: EVIL },
    ]),
  ),
  file(
    "a pickle as a storage",
    "a.pt",
    anyZip([
      { name: "m/data.pkl", content: HONEST },
      VERSION,
      { name: "m/data/0", content: EVIL4 },
    ]),
  ),
  file("a pickle behind data.pkl", "a.pt", torchZip({ content: join([HONEST, EVIL]) })),
  file(
    "constants.pkl of a script",
    "a.pt",
    anyZip([
      { name: "m/data.pkl", content: HONEST },
      { name: "m/code/__torch__.py", content: text("x") },
      { name: "m/constants.pkl", content: EVIL4 },
    ]),
  ),
  file(
    "an operator that reads files",
    "a.pt",
    anyZip([
      { name: "m/data.pkl", content: HONEST },
      { name: "m/constants.pkl", content: text("\x80\x02).") },
      { name: "m/code/__torch__.py", content: text('a = ops.aten.relu(torch.from_file("x"))') },
    ]),
  ),
  file(
    "a package's modules",
    "a.pt",
    anyZip([
      { name: "m/data.pkl", content: HONEST },
      { name: "m/.data/extern_modules", content: text("os\n") },
      { name: "m/mod.py", content: text("import os") },
    ]),
  ),
  file(
    "a handler for serving",
    "a.mar",
    anyZip([
      { name: "MAR-INF/MANIFEST.json", content: text("{}") },
      { name: "handler.py", content: text("import os") },
    ]),
  ),
  ...[0, 1, 2, 3, 4].map((i) => file(`legacy, pickle ${i}`, "a.pt", legacy(i, EVIL))),
  file("legacy, behind the storages", "a.pt", join([legacy(9, EVIL), EVIL])),
  ...["sys_info", "pickle", "storages", "tensors"].map((member) =>
    file(`tar, ${member}`, "a.tar", torchTar(member)),
  ),
];

// ---- zip --------------------------------------------------------------------------------------

const good: ZipMember = { name: "m/data.pkl", content: HONEST };
const other: ZipMember = { name: "n", content: text("text") };
const lie = (what: string, own: Partial<ZipMember>, end?: ZipEnd) =>
  file(`zip: ${what}`, "a.pt", anyZip([{ ...good, ...own }, VERSION], end));
const evilLie = (what: string, own: Partial<ZipMember>, end?: ZipEnd) =>
  file(`zip: ${what}`, "a.pt", torchZip({ content: EVIL, ...own }, end));
const one = anyZip([good, VERSION]);
const two = torchZip({ content: EVIL });

const ZIPS: readonly EvilFile[] = [
  ...[0x0001, 0x0020, 0x0040, 0x1000, 0x2000].flatMap((flags) => [
    evilLie(`flags ${flags} in both`, { flags }),
    evilLie(`flags ${flags} locally`, { local: { flags } }),
    evilLie(`flags ${flags} in the directory`, { central: { flags } }),
  ]),
  evilLie("a wrong CRC", { crc: 1 }),
  evilLie("a CRC of zero", { crc: 0 }),
  lie("a wrong CRC of an honest pickle", { local: { crc: 1 } }),
  evilLie("another name locally", { local: { name: "m/readme.txt" } }),
  evilLie("another name in the directory", { central: { name: "m/readme.txt" } }),
  evilLie("a longer size locally", { local: { size: 99_999, packed: 99_999 } }),
  evilLie("a shorter size in the directory", { central: { size: 3, packed: 3 } }),
  evilLie("another method locally", { local: { method: 8 } }),
  evilLie("another method in the directory", { central: { method: 8 } }),
  evilLie("a method nobody knows", { method: 97 }),
  evilLie("an entry count of zero", {}, { count: 0 }),
  evilLie("an entry count that is too small", {}, { count: 1 }),
  evilLie("another disk", {}, { disk: 1 }),
  evilLie("a directory of another size", {}, { size: 7 }),
  evilLie("a prefix", {}, { prefix: text("MZ something") }),
  evilLie("a suffix", {}, { suffix: text("something") }),
  evilLie("an end record in the comment", {}, { comment: anyZip([]) }),
  evilLie("a folder by its attributes", { central: { attributes: 0x10 } }),
  evilLie("a link by its attributes", { central: { attributes: 0o120777 * 65_536 } }),
  file(
    "zip: a hidden member",
    "a.pt",
    anyZip([good, { name: "x.pkl", content: EVIL, hidden: true }, VERSION]),
  ),
  file(
    "zip: a hidden member before all",
    "a.pt",
    anyZip([{ name: "x.pkl", content: EVIL, deflate: true, hidden: true }, good]),
  ),
  file("zip: twice, evil first", "a.pt", anyZip([{ ...good, content: EVIL }, good])),
  file("zip: twice, evil last", "a.pt", anyZip([good, { ...good, content: EVIL }])),
  file(
    "zip: names that differ in case",
    "a.pt",
    anyZip([good, { ...good, name: "M/Data.pkl", content: EVIL }]),
  ),
  file("zip: two archives, evil first", "a.pt", join([two, one])),
  file("zip: two archives, evil last", "a.pt", join([one, two])),
  ...["../x", "/x", "a/../../x", "C:\\x", "a\\..\\x", "a\0.txt", "\\\\host\\x"].map((name) =>
    file(`zip: the name ${JSON.stringify(name)}`, "a.zip", anyZip([{ ...other, name }])),
  ),
  file(
    "zip: entries that overlap",
    "a.zip",
    anyZip([other, { ...other, name: "o", central: { offset: 0 } }]),
  ),
];

// ---- archives and polyglots -------------------------------------------------------------------

const ARCHIVES: readonly EvilFile[] = [
  file("in a zip", "a.zip", zip([["x/y.pkl", EVIL]])),
  file("in a zip under a harmless name", "a.zip", zip([["readme", EVIL4]])),
  file(
    "in zips",
    "a.zip",
    zip([["b.zip", zip([["c.zip", anyZip([{ name: "d", content: EVIL4, deflate: true }])]])]]),
  ),
  file("in a tar", "a.tar", tar([{ name: "x", content: EVIL }])),
  file("in a tar, packed", "a.tar.gz", gzipSync(tar([{ name: "x.pkl", content: EVIL }]))),
  file("behind a tar", "a.tar", tar([{ name: "x", content: text("hi") }], EVIL)),
  file("in a gz", "a.pkl.gz", gzipSync(EVIL)),
  file("in a gz under another name", "a.bin", gzipSync(EVIL4)),
  file("in zlib", "a.joblib", deflateSync(EVIL4)),
  file("in a gz in a gz", "a.gz", gzipSync(gzipSync(EVIL))),
  ...(["1", "2", "3", "4", "6"] as const).map((kind) =>
    file(`tar: a member of kind ${kind}`, "a.tar", tar([{ name: "x", kind, link: "/etc/passwd" }])),
  ),
  ...["../x", "/x", "a\\b"].map((name) =>
    file(`tar: the name ${name}`, "a.tar", tar([{ name, content: text("hi") }])),
  ),
  file(
    "tar: a name twice",
    "a.tar",
    tar([
      { name: "x", content: text("1") },
      { name: "x", content: text("2") },
    ]),
  ),
  file("pickle and zip", "a.pkl", join([EVIL, one])),
  file("zip and pickle", "a.pt", join([one, EVIL])),
  file("legacy torch and zip", "a.pt", join([legacy(3, EVIL), one])),
  file(
    "a tar whose member's name is a pickle",
    "a.pkl",
    tar([{ name: "cposix\nsystem\n(S'x'\ntR." }]),
  ),
  file("safetensors and zip", "a.safetensors", join([safetensors("{}"), two])),
  file("gguf and zip", "a.gguf", join([gguf([]), two])),
  ...[
    "npy",
    "npz",
    "onnx",
    "h5",
    "keras",
    "gguf",
    "safetensors",
    "json",
    "txt",
    "md",
    "yaml",
    "png",
    "jpg",
    "pb",
    "msgpack",
    "tflite",
    "zip",
    "tar",
    "7z",
    "gz",
  ].flatMap((ending) => [
    file(`a pickle called .${ending}`, `a.${ending}`, EVIL),
    file(`a pickle of protocol 4 called .${ending}`, `a.${ending}`, EVIL4),
  ]),
];

// ---- arrays -----------------------------------------------------------------------------------

const OBJECTS: Readonly<Record<string, string>> = {
  plain: npyHeader("'|O'"),
  "of fixed size": npyHeader("'O8'"),
  structured: npyHeader("[('a', '<f4'), ('b', '|O')]"),
  nested: npyHeader("[('a', [('b', '|O')])]"),
  "a subarray": npyHeader("[('a', '|O', (2,))]"),
  "without elements": npyHeader("'|O'", "(0,)"),
  scalar: npyHeader("'|O'", "()"),
};
const wrapper = (type: string, after: string) =>
  text(
    `\x80\x04\x8c\x13joblib.numpy_pickle\x8c\x11NumpyArrayWrapper\x93)\x81}(\x8c\x08subclass\x8c\x05numpy\x8c\x07ndarray\x93\x8c\x05shapeK\x01\x85\x8c\x05order\x8c\x01C\x8c\x05dtype\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02${type}\x89\x88\x87R\x8c\x0aallow_mmap\x89ub${after}`,
  );
const ARRAYS: readonly EvilFile[] = [
  ...Object.entries(OBJECTS).flatMap(([what, header]) => [
    file(`npy of objects, ${what}`, "a.npy", npy(header, EVIL4)),
    file(
      `npz of objects, ${what}`,
      "a.npz",
      anyZip([{ name: "arr_0.npy", content: npy(header, EVIL, 2), deflate: true }]),
    ),
    file(`npz without endings, ${what}`, "a.npz", zip([["arr_0", npy(header, EVIL, 3)]])),
  ]),
  file(
    "npy with a call in its header",
    "a.npy",
    npy(
      "{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1,)}",
      new Uint8Array(8),
    ),
  ),
  file(
    "npy, a pickle behind the elements",
    "a.npy",
    npy(npyHeader("'<f4'", "(1,)"), join([new Uint8Array(4), EVIL])),
  ),
  file(
    "joblib, behind an inline array",
    "a.joblib",
    join([wrapper("f4", "\0\0\0\0"), text("0"), EVIL.slice(0)]),
  ),
  file("joblib, an array of objects", "a.joblib", join([wrapper("O8", ""), EVIL4, text(".")])),
  file("joblib, packed", "a.joblib", deflateSync(join([wrapper("O8", ""), EVIL4, text(".")]))),
];

// ---- templates --------------------------------------------------------------------------------

/** Ways out of a template. */
export const EVIL_TEMPLATES = [
  "{{ ''.__class__.__base__.__subclasses__() }}",
  "{{ messages['__cla' + 'ss__'] }}",
  "{{ messages['__cla' ~ 'ss__'] }}",
  "{{ messages['%s%s' % ('__cla', 'ss__')] }}",
  "{{ messages['\\x5f\\x5fclass\\x5f\\x5f'] }}",
  "{{ messages['\\137\\137class\\137\\137'] }}",
  "{{ messages['\\u005f_class__'] }}",
  "{{ messages['__CLASS__' | lower] }}",
  "{{ messages['__ssalc__' | reverse] }}",
  "{{ messages[['__cl', 'ass__'] | join] }}",
  "{{ messages['__clXss__' | replace('X', 'a')] }}",
  "{{ messages | attr('__init__') }}",
  "{{ messages | attr('__in' ~ 'it__') }}",
  "{{ messages | attr(name) }}",
  "{{ messages | map('attr', '__class__') | list }}",
  "{{ messages | map(attribute='__class__') | list }}",
  "{{ messages | selectattr('__class__') | list }}",
  "{{ messages | groupby('__class__') }}",
  "{% set a = '__class' %}{% set b = '__' %}{{ messages[a ~ b] }}",
  "{% set d = dict(__cl=1, ass__=2) | join %}{{ messages[d] }}",
  "{% macro f(x) %}{{ x.__globals__ }}{% endmacro %}{{ f(messages) }}",
  "{% for c in [].__class__.__mro__ %}{{ c }}{% endfor %}",
  "{% if messages.__class__ %}x{% endif %}",
  "{% with x = ''.__class__ %}{{ x }}{% endwith %}",
  "{% call(x) messages.__init__() %}{% endcall %}",
  "{% filter attr('__class__') %}x{% endfilter %}",
  "{{ cycler.__init__.__globals__.os.popen('x').read() }}",
  "{{ joiner.__init__.__globals__ }}",
  "{{ namespace.__init__.__globals__ }}",
  "{{ lipsum.__globals__['os'] }}",
  "{{ lipsum | attr('\\x5f\\x5fglobals\\x5f\\x5f') }}",
  "{{ self._TemplateReference__context }}",
  "{{ self.__init__ }}",
  "{{ range.__class__ }}",
  "{{ raise_exception.__globals__ }}",
  "{{ strftime_now.__globals__ }}",
  "{{ request.application.__globals__ }}",
  "{{ messages[request.args.x] }}",
  "{{ config.__class__.from_envvar }}",
  "{{ url_for.__globals__ }}",
  "{{ get_flashed_messages.__globals__ }}",
  "{{ '{0.__class__}'.format(messages) }}",
  "{{ '{x.__class__}' | format(x=messages) }}",
  "{% include '/etc/passwd' %}",
  "{% import 'os' as os %}{{ os.system('x') }}",
  "{% from 'x' import y %}",
  "{% extends 'x' %}",
  "{% set x %}{{ ''.__class__ }}{% endset %}",
  "{{ (messages | attr)('__class__') }}",
  "{{ messages.__getattribute__('x') }}",
  "{{ ().__class__.__bases__[0] }}",
  "{{ messages.__init__.__builtins__.eval('1') }}",
  "{%- if true -%}{{- ''.__class__ -}}{%- endif -%}",
  "{# a note #}{{ messages\n  .__class__ }}",
] as const;

const FAIR = "{% for m in messages %}{{ m.content }}{% endfor %}";
const TEMPLATES: readonly EvilFile[] = EVIL_TEMPLATES.flatMap((template, i) => [
  file(template, "tokenizer_config.json", utf8(JSON.stringify({ chat_template: template }))),
  file(
    template,
    "a.gguf",
    gguf([
      ["general.name", "x"],
      ["tokenizer.chat_template", template],
    ]),
  ),
  [
    file(
      template,
      "tokenizer_config.json",
      utf8(
        JSON.stringify({
          chat_template: [
            { name: "default", template: FAIR },
            { name: "tool_use", template },
          ],
        }),
      ),
    ),
    file(template, "chat_template.jinja", utf8(template)),
    file(
      template,
      "a.gguf",
      gguf([
        ["tokenizer.chat_template", FAIR],
        ["tokenizer.chat_template.tool_use", template],
      ]),
    ),
    file(
      template,
      "a.gguf",
      gguf([
        ["tokenizer.chat_template", FAIR],
        ["tokenizer.chat_template", template],
      ]),
    ),
    file(template, "config.yaml", utf8(`chat_template: |\n  ${template.replace(/\n/g, "\n  ")}\n`)),
  ][i % 5]!,
]);

// ---- models as graphs -------------------------------------------------------------------------

const keras = (layers: unknown): Uint8Array =>
  utf8(JSON.stringify({ module: "keras", class_name: "Functional", config: { layers } }));
const layer = (class_name: string, config: unknown = {}, rest: object = {}) => ({
  module: "keras.layers",
  class_name,
  config,
  registered_name: null,
  ...rest,
});
const kerasZip = (config: Uint8Array, more: readonly ZipMember[] = []) =>
  anyZip([
    { name: "metadata.json", content: text("{}") },
    { name: "config.json", content: config },
    { name: "model.weights.h5", content: new Uint8Array(0) },
    ...more,
  ]);
const KERAS_CONFIGS: Readonly<Record<string, unknown>> = {
  Lambda: [layer("Lambda", { function: { class_name: "__lambda__", config: { code: "4wEA" } } })],
  "Lambda in a wrapper": [layer("TimeDistributed", { layer: layer("Lambda") })],
  "Lambda in a model in a model": [
    layer("Sequential", { layers: [layer("Model", { layers: [layer("Lambda")] })] }),
  ],
  "Lambda by another name": [layer("keras.src.layers>Lambda"), layer("Custom>Lambda")],
  TFOpLambda: [layer("TFOpLambda", { function: "io.write_file" })],
  "a module of Python": [{ module: "os", class_name: "system", config: "x" }],
  "a module of one's own": [{ module: "builtins", class_name: "eval", config: "1" }],
  "a function of Python": [
    layer("Dense", {
      activation: {
        module: "subprocess",
        class_name: "function",
        config: "run",
        registered_name: "run",
      },
    }),
  ],
  "a helper that downloads": [
    {
      module: "keras.utils",
      class_name: "function",
      config: "get_file",
      registered_name: "function",
    },
  ],
  "a helper that loads": [{ module: "keras.src.saving", class_name: "load_model", config: {} }],
  "unsafe loading": [
    { module: "keras.config", class_name: "function", config: "enable_unsafe_deserialization" },
  ],
  "a wrapped torch module": [layer("TorchModuleWrapper", { module: "gAJ9cQAu" })],
  "a SavedModel by path": [layer("TFSMLayer", { filepath: "/tmp/x" })],
  "a vocabulary by path": [layer("StringLookup", { vocabulary: "/etc/passwd" })],
};
const KERAS: readonly EvilFile[] = [
  ...Object.entries(KERAS_CONFIGS).flatMap(([what, layers]) => [
    file(`keras: ${what}`, "m.keras", kerasZip(keras(layers))),
    file(`keras: ${what}, as JSON`, "config.json", keras(layers)),
    file(
      `keras: ${what}, escaped`,
      "m.keras",
      kerasZip(
        utf8(
          new TextDecoder()
            .decode(keras(layers))
            .replace(/"class_name"/g, '"class\\u005fname"')
            .replace(/Lambda/g, "\\u004cambda"),
        ),
      ),
    ),
  ]),
  file(
    "keras: config.json twice",
    "m.keras",
    kerasZip(keras([]), [{ name: "config.json", content: keras(KERAS_CONFIGS.Lambda) }]),
  ),
  file(
    "keras: a pickle inside",
    "m.keras",
    kerasZip(keras([]), [{ name: "extra.pkl", content: HONEST }]),
  ),
  file(
    "keras: an array of objects inside",
    "m.keras",
    kerasZip(keras([]), [{ name: "assets/x.npy", content: npy(OBJECTS.plain!, EVIL) }]),
  ),
];

const external = (path: string) => field(13, message(field(1, "location"), field(2, path)));
const tensor = (path: string) => message(field(2, 1), field(8, "W"), external(path), field(14, 1));
const model = (graph: Uint8Array, ...more: readonly Uint8Array[]) =>
  message(field(1, 8), field(2, "pytorch"), field(7, graph), ...more);
const node = (op: string, domain = "", ...more: readonly Uint8Array[]) =>
  message(field(1, "x"), field(2, "y"), field(4, op), field(7, domain), ...more);
const PATHS = [
  "../../x",
  "a/../../x",
  "/etc/passwd",
  "..\\x",
  "C:\\x",
  "file:///x",
  "https://example.com/x",
  "x\0.bin",
  "~/x",
  "\\\\host\\x",
];
const ONNX: readonly EvilFile[] = [
  ...PATHS.map((path) =>
    file(`onnx: ${JSON.stringify(path)}`, "m.onnx", model(field(5, tensor(path)))),
  ),
  file(
    "onnx: a path in a subgraph",
    "m.onnx",
    model(
      field(
        1,
        node(
          "If",
          "",
          field(5, message(field(1, "then_branch"), field(6, field(5, tensor("../x"))))),
        ),
      ),
    ),
  ),
  file(
    "onnx: a path in a node's tensor",
    "m.onnx",
    model(
      field(
        1,
        node("Constant", "", field(5, message(field(1, "value"), field(5, tensor("../x"))))),
      ),
    ),
  ),
  file(
    "onnx: a path in a function",
    "m.onnx",
    model(
      new Uint8Array(0),
      field(
        25,
        message(
          field(1, "f"),
          field(7, node("Constant", "", field(5, message(field(5, tensor("/x")))))),
        ),
      ),
    ),
  ),
  file("onnx: a path in a sparse tensor", "m.onnx", model(field(15, field(1, tensor("../x"))))),
  file(
    "onnx: a key twice",
    "m.onnx",
    model(field(5, message(field(2, 1), external("w"), external("v"), field(14, 1)))),
  ),
  ...["PyOp", "PythonOp", "PyFunc"].map((op) =>
    file(`onnx: ${op}`, "m.onnx", model(field(1, node(op, "ai.onnx.contrib")))),
  ),
  file("onnx: a domain of one's own", "m.onnx", model(field(1, node("Run", "my.own.domain")))),
];

const operator = (op: string) => message(field(1, message(field(1, "n"), field(2, op))));
const TF: readonly EvilFile[] = [
  "ReadFile",
  "WriteFile",
  "PyFunc",
  "EagerPyFunc",
  "LoadLibrary",
  "MatchingFiles",
  "PrintV2",
  "ImmutableConst",
  "SaveV2Dataset",
]
  .slice(0, 8)
  .flatMap((op) => [
    file(
      `tensorflow: ${op}`,
      "saved_model.pb",
      message(field(1, 1), field(2, field(2, operator(op)))),
    ),
    file(
      `tensorflow: ${op} in a function`,
      "saved_model.pb",
      message(
        field(1, 1),
        field(2, field(2, field(2, field(1, field(3, message(field(1, "n"), field(2, op))))))),
      ),
    ),
  ]);

// ---- configurations ---------------------------------------------------------------------------

const YAMLS = [
  "a: !!python/object/apply:os.system ['x']",
  "a: !!python/object/new:subprocess.Popen ['x']",
  "- !!python/name:os.system",
  "a: !!python/module:os",
  "a: !<tag:yaml.org,2002:python/object/apply:os.system> ['x']",
  "%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system ['x']",
  "a: {b: [!!python/object/apply:eval ['1']]}",
  "model:\n  _target_: os.system\n  command: x",
  "model: {_target_: builtins.eval}",
  "model:\n  - _target_: 'subprocess.Popen'",
  '"_target_": posix.system',
];
const CONFIGS: readonly EvilFile[] = [
  ...YAMLS.map((yaml) => file(yaml, "config.yaml", utf8(`${yaml}\n`))),
  ...["\ufeff", ""].map((mark) =>
    file("YAML in UTF-16", "config.yaml", utf16(`${mark}${YAMLS[0]}\n`)),
  ),
  file(
    "a template with control characters",
    "chat_template.jinja",
    utf8(`\u0001\0${EVIL_TEMPLATES[0]}`),
  ),
  file("auto_map", "config.json", utf8('{"auto_map": {"AutoModel": "modeling_x.Model"}}')),
  file("_target_ in JSON", "config.json", utf8('{"a": {"_target_": "os.system"}}')),
  file(
    "py/reduce in JSON",
    "config.json",
    utf8('{"py/reduce": [{"py/function": "os.system"}, {"py/tuple": ["x"]}]}'),
  ),
  ...[
    "../x.safetensors",
    "/x.safetensors",
    "a/../../x.safetensors",
    "..\\x.safetensors",
    "https://example.com/x.safetensors",
  ].map((path) =>
    file(
      `index: ${path}`,
      "model.safetensors.index.json",
      utf8(JSON.stringify({ metadata: {}, weight_map: { a: path } })),
    ),
  ),
];

export const EVIL_FILES: readonly EvilFile[] = [
  ...TORCH,
  ...ZIPS,
  ...ARCHIVES,
  ...ARRAYS,
  ...TEMPLATES,
  ...KERAS,
  ...ONNX,
  ...TF,
  ...CONFIGS,
];
