/** What the page Learn says. */

import { words } from "./words.svelte.ts";

export const learn = words({
  en: {
    title: "How a picture grows, scale by scale",
    lead: "Most models that write pictures as tokens write them like a page: from the upper left, token by token. This one writes a whole picture at every step, coarse first, then finer. Try it with a picture of your own; it stays in this page.",
    choose: "Choose a picture",
    sample: "Let the model draw one",
    fetching: (share: string) => `Fetching the tokenizer: ${share}`,
    reading: "Reading your picture …",
    noModel: "This server offers no model that a page can load, so there is nothing to try here.",
    first: "1. One number for the whole picture",
    firstText:
      "A tokenizer first turns the picture into a small map of features. Then it describes that map with codes from a book of fixed vectors: one code for all of it, then 2 x 2 for what the first left out, and so on. Every scale describes only what the coarser ones missed.",
    scale: "Scale",
    scaleOf: (k: string, of: string, side: string) =>
      `Scale ${k} of ${of}: ${side} x ${side} tokens`,
    play: "Play",
    stop: "Stop",
    original: "Your picture",
    period: ".",
    tokens: "Codes of this scale",
    tokensHelp: "Each square is a code; the same number is the same colour.",
    missing: "What is still missing",
    missingHelp: "Bright places are not described yet.",
    sofar: "All scales so far",
    sofarHelp: "Decoded from the codes up to here, nothing else.",
    left: (share: string) => `${share} of the feature map is still missing.`,
    second: "2. Which order to write in",
    secondText: (tokens: string, steps: string, side: string) =>
      `Left to right, a map of ${side} x ${side} tokens takes ${tokens} steps, and the first rows are fixed before anything below is known. Scale by scale it takes ${steps} steps: all tokens of a scale are drawn at once, and every scale sees the whole picture as it is so far.`,
    raster: "Raster order",
    next: "Next scale",
    step: (n: string, of: string) => `Step ${n} of ${of}`,
    third: "3. Drawing is the same, backwards",
    thirdText:
      "To draw, a transformer guesses the codes instead of reading them off a picture. It sees the map made so far, enlarged to the next scale, and says for every place how likely each code is. One is drawn there by chance, and the next scale begins. That is why you can stop at any scale and branch off, keep the coarse scales of a picture and redraw the rest, or lay down a picture's own tokens around a hole.",
    try: "Draw one yourself",
    paper:
      "The method is by Tian and others, 2024: Visual Autoregressive Modeling, arXiv 2404.02905.",
    shown: (k: string, side: string) => `Scale ${k}, ${side} by ${side}`,
  },
  zh: {
    title: "图像如何逐级生长",
    lead: "多数用词元生成图像的模型像写字一样：从左上角开始，一个接一个。这个模型每一步都写出整幅图，先粗后细。用你自己的图片试试看，图片不会离开本页。",
    choose: "选择图片",
    sample: "让模型画一张",
    fetching: (share: string) => `正在获取分词器：${share}`,
    reading: "正在读取图片……",
    noModel: "此服务器没有可在网页中加载的模型，因此这里无法试用。",
    first: "1. 先用一个编号描述整幅图",
    firstText:
      "分词器先把图片变成一张小的特征图，再用码本中固定向量的编号来描述它：先用一个编号描述全图，再用 2 × 2 个编号描述前者漏掉的部分，依此类推。每一级只描述更粗的各级没有说到的内容。",
    scale: "级",
    scaleOf: (k: string, of: string, side: string) =>
      `第 ${k} 级（共 ${of} 级）：${side} × ${side} 个词元`,
    play: "播放",
    stop: "停止",
    original: "你的图片",
    period: "。",
    tokens: "这一级的编号",
    tokensHelp: "每个方格是一个编号；编号相同，颜色相同。",
    missing: "还缺什么",
    missingHelp: "亮处还没有被描述。",
    sofar: "到目前为止的各级",
    sofarHelp: "只由到此为止的编号解码而成。",
    left: (share: string) => `特征图还缺 ${share}。`,
    second: "2. 按什么顺序写",
    secondText: (tokens: string, steps: string, side: string) =>
      `从左到右，一张 ${side} × ${side} 的词元图需要 ${tokens} 步，而且上面几行在下面还未知时就已定下。逐级生成只需 ${steps} 步：同一级的词元同时抽取，每一级都能看到目前的整幅图。`,
    raster: "逐行顺序",
    next: "逐级生成",
    step: (n: string, of: string) => `第 ${n} 步，共 ${of} 步`,
    third: "3. 生成就是反过来做",
    thirdText:
      "生成时，由 Transformer 来猜编号，而不是从图片上读出。它看到目前已成的图（放大到下一级），为每个位置给出各编号的概率，按概率抽取一个，然后进入下一级。因此你可以在任何一级停下并分岔，保留一幅图的粗级而重画其余，或者在空洞周围铺上图片自己的词元。",
    try: "自己画一张",
    paper: "方法出自 Tian 等人 2024 年的论文 Visual Autoregressive Modeling，arXiv 2404.02905。",
    shown: (k: string, side: string) => `第 ${k} 级，${side} × ${side}`,
  },
});
