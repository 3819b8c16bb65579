/** Ordinary files stay clean: what the libraries themselves wrote (test/fixtures/guard/benign.zip), and texts like those of well-known models. */

import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { memorySource, readZip, readZipEntry } from "../../src/formats/index.ts";
import { loadModel, scanSource } from "../../src/guard/scan/index.ts";
import { anyZip, field, gguf, le, message, safetensors, tar } from "./build.ts";
import { join, text } from "./samples.ts";
import { TEMPLATES } from "./templates.ts";

const findings = async (bytes: Uint8Array, name: string) =>
  (await scanSource(bytes, { name })).findings;
const utf8 = (s: string) => new TextEncoder().encode(s);
const json = (value: unknown) => utf8(JSON.stringify(value));

describe("files of torch, NumPy, joblib, h5py, Keras and ONNX", async () => {
  const zip = new Uint8Array(
    readFileSync(new URL("../fixtures/guard/benign.zip", import.meta.url)),
  );
  const source = memorySource(zip);
  const files = [...(await readZip(source)).values()];

  test.each(files.map(({ name }) => name))("%s is clean", async (name) => {
    const bytes = await readZipEntry(source, files.find((f) => f.name === name)!);
    expect(await findings(bytes, name)).toEqual([]);
  });

  test("those of tensors and plain data load", async () => {
    const loads = files.filter(({ name }) =>
      /^(numpy\/|torch\/(dtypes|views|numpy|state))/.test(name),
    );
    expect(loads.length).toBeGreaterThan(12);
    for (const entry of loads) {
      const { arrays } = await loadModel(await readZipEntry(source, entry), { name: entry.name });
      expect(arrays.size, entry.name).toBeGreaterThan(0);
    }
  });
});

/** Parts of templates: turns, tools, reasoning, dates, refusals. Whole ones are templates.ts. */
const PARTS: Readonly<Record<string, string>> = {
  turns:
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% else %}{% set loop_messages = messages %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must take turns: user/assistant') }}{% endif %}{{ '<|start|>' + message['role'] + '\\n' + message['content'].strip() + '<|end|>' }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant\\n' }}{% endif %}",
  tools:
    "{%- set user = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}{%- set user.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for tool in tools %}{%- set tool = tool.function if tool.function is defined else tool %}{{- tool.name }}({% for key, value in tool.parameters.properties | items %}{{ key }}: {{ value.type }}{% if not loop.last %}, {% endif %}{% endfor %}){{ '\\n' }}{{ tool | tojson(indent=4) }}{%- endfor %}",
  reasoning:
    "{%- set ns = namespace(multi=true, last=messages | length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages | length - 1) - loop.index0 %}{%- if ns.multi and message.content is string and not (message.content.startswith('<tool>') and message.content.endswith('</tool>')) %}{%- set ns.multi = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}{%- for message in messages %}{%- if '</think>' in message.content %}{%- set reasoning = message.content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- endif %}{{- reasoning | default('', true) | trim }}{%- endfor %}",
  dates:
    "{% if not date_string is defined %}{% if strftime_now is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}{% endif %}{{ bos_token }}Today: {{ date_string }}",
  macros:
    "{%- macro kind(param) -%}{%- if param.type is iterable and param.type is not string -%}{{ param.type | join(' | ') }}{%- elif param.enum is defined -%}{{ param.enum | map('tojson') | join(', ') }}{%- else -%}{{ param.type | default('any') | upper }}{%- endif -%}{%- endmacro -%}{%- for p in tools | selectattr('type', 'equalto', 'function') | map(attribute='function') | list -%}{{ kind(p) }}{%- endfor -%}",
  documents:
    "{% for document in documents | default([]) %}{{ '\\nDocument: ' ~ loop.index ~ '\\n' }}{% for key, value in document.items() %}{{ key | capitalize }}: {{ value | string | replace('\\n', ' ') }}{{ '' if loop.last else '\\n' }}{% endfor %}{% endfor %}",
  parts:
    "{%- for message in messages %}{%- if message['content'] is not string %}{%- for part in message['content'] %}{%- if part['type'] == 'image' or 'image_url' in part %}<image>{%- elif part is mapping and part.get('text') is not none %}{{ part['text'] }}{%- endif %}{%- endfor %}{%- else %}{% generation %}{{ message['content'] }}{% endgeneration %}{%- endif %}{%- endfor %}",
  calls:
    "{%- for call in message.tool_calls -%}{%- set call = call['function'] if 'function' in call else call -%}{{- '{\"name\": \"' ~ call.name ~ '\", \"arguments\": ' -}}{%- if call.arguments is mapping -%}{{- call.arguments | tojson -}}{%- else -%}{{- call.arguments -}}{%- endif -%}{{- '}' -}}{%- if call.id is undefined or call.id | length != 9 -%}{{- raise_exception('ids have 9 letters') -}}{%- endif -%}{%- endfor -%}",
};

describe("texts", () => {
  test.each(Object.entries({ ...PARTS, ...TEMPLATES }))(
    "the chat template of %s is clean wherever it stands",
    async (_, template) => {
      expect(await findings(json({ chat_template: template }), "tokenizer_config.json")).toEqual(
        [],
      );
      expect(
        await findings(
          json({ chat_template: [{ name: "default", template }] }),
          "tokenizer_config.json",
        ),
      ).toEqual([]);
      expect(await findings(utf8(template), "chat_template.jinja")).toEqual([]);
      expect(await findings(gguf([["tokenizer.chat_template", template]]), "m.gguf")).toEqual([]);
    },
  );

  test("a vocabulary may hold any word", async () => {
    const words = [
      "{{",
      "{%",
      "}}",
      "{{}}",
      "{% raw",
      "__class__",
      "_target_",
      "auto_map",
      "!!python",
      "os.system",
      "__import__('os')",
    ];
    const vocab = Object.fromEntries(words.map((word, i) => [word, i]));
    expect(
      await findings(
        json({ model: { type: "BPE", vocab, merges: ["{ {", "_ _class"] } }),
        "tokenizer.json",
      ),
    ).toEqual([]);
    expect(await findings(utf8(words.join("\n")), "vocab.txt")).toEqual([]);
    const piece = (word: string) => field(1, message(field(1, word)));
    expect(
      await findings(message(...words.map(piece), ...words.map(piece)), "tokenizer.model"),
    ).toEqual([]);
    const array = (items: readonly string[]) =>
      join([
        le(8, 4),
        le(items.length, 8),
        ...items.flatMap((s) => [le(utf8(s).length, 8), utf8(s)]),
      ]);
    const key = "tokenizer.ggml.tokens";
    const head = join([
      text("GGUF"),
      le(3, 4),
      le(0, 8),
      le(1, 8),
      le(key.length, 8),
      text(key),
      le(9, 4),
      array(words),
    ]);
    expect(await findings(join([head, new Uint8Array(32 - (head.length % 32))]), "m.gguf")).toEqual(
      [],
    );
  });

  const FILES: Readonly<Record<string, string>> = {
    "config.json":
      '{"architectures": ["LlamaForCausalLM"], "auto_map": null, "trust_remote_code": false, "rope_scaling": {"type": "linear"}}',
    "generation_config.json": '{"eos_token_id": [1, 2], "temperature": 0.6}',
    "config.yaml":
      "# !!python is not used\nmodel:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params: {a: 1, b: [1, 2], c: 'x'}\nlist:\n- !!str b\n- &anchor {x: 1}\n- *anchor\ntext: |\n  a block\n   more\n",
    "hydra.yaml":
      "model:\n  _target_: torch.nn.Linear\n  in_features: 3\noptimizer:\n  _target_: torch.optim.AdamW\n  _partial_: true\n",
    "README.md": '# Model\n\n```python\nimport os\nos.system("ls")\n```\n{{ a }} {% raw %}\n',
    "train.py": 'import os, pickle\nos.system("ls")\npickle.loads(b"")\n',
    "labels.txt": "cat\ndog\ncos\nin\nsystem\n",
    "model.safetensors.index.json":
      '{"metadata": {"total_size": 8}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}',
  };
  test.each(Object.entries(FILES))("%s is clean", async (name, content) => {
    expect(await findings(utf8(content), name)).toEqual([]);
  });
});

test("safetensors of every type, and with the notes trainers leave, are clean", async () => {
  const types = {
    F64: 8,
    F32: 4,
    F16: 2,
    BF16: 2,
    I64: 8,
    I32: 4,
    I16: 2,
    I8: 1,
    U8: 1,
    BOOL: 1,
    F8_E4M3: 1,
    F8_E5M2: 1,
  };
  let at = 0;
  const header: Record<string, unknown> = {
    __metadata__: { format: "pt", notes: '{"tags": {"a": 1}} {x}' },
  };
  for (const [dtype, width] of Object.entries(types)) {
    header[dtype.toLowerCase()] = { dtype, shape: [2, 3], data_offsets: [at, at + 6 * width] };
    at += 6 * width;
  }
  expect(
    await findings(safetensors(JSON.stringify(header), new Uint8Array(at)), "a.safetensors"),
  ).toEqual([]);
});

test("archives of texts and a SavedModel of plain operators are clean", async () => {
  const content = text("hello ".repeat(300));
  expect(
    await findings(
      anyZip([
        { name: "a.txt", content, deflate: true },
        { name: "b/c.md", content },
      ]),
      "a.zip",
    ),
  ).toEqual([]);
  expect(
    await findings(
      tar([
        { name: "a.txt", content },
        { name: "d/", kind: "5" },
        { name: "d/b", content },
      ]),
      "a.tar",
    ),
  ).toEqual([]);
  const node = (op: string) => field(1, message(field(1, op.toLowerCase()), field(2, op)));
  const graph = message(
    ...["Placeholder", "MatMul", "BiasAdd", "SaveV2", "RestoreV2", "StatefulPartitionedCall"].map(
      node,
    ),
  );
  expect(await findings(message(field(1, 1), field(2, field(2, graph))), "saved_model.pb")).toEqual(
    [],
  );
});
