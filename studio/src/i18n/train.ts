/** What the page Train says. */

import { words } from "./words.svelte.ts";

export const train = words({
  en: {
    title: "Training, live",
    noServer:
      "This studio runs without a server. To watch a training run, start one where the runs are:",
    none: "There are no runs yet. Start one, and it appears here:",
    runs: "Runs",
    step: "Step",
    of: (n: string) => `of ${n}`,
    left: "Time left",
    finished: "finished",
    alarms: "Alarms",
    noAlarms: "none",
    alarm: (step: string) => `Update ${step}`,
    loss: "Loss",
    rate: "Learning rate",
    usage: "Codebook usage at each scale",
    usageHelp: "Rows are scales, from coarse to fine; time goes to the right. Pale is unused.",
    samples: "Samples over time",
    sheet: (name: string) => `Samples: ${name}`,
    curve: (name: string, first: string, last: string) => `${name}: from ${first} to ${last}`,
  },
  zh: {
    title: "训练实况",
    noServer: "此画室没有服务器。要观看训练，请在训练所在处启动：",
    none: "还没有训练。启动一个，它就会出现在这里：",
    runs: "训练",
    step: "步",
    of: (n: string) => `共 ${n}`,
    left: "剩余时间",
    finished: "已完成",
    alarms: "警报",
    noAlarms: "无",
    alarm: (step: string) => `第 ${step} 步`,
    loss: "损失",
    rate: "学习率",
    usage: "各级码本使用率",
    usageHelp: "每行一级，由粗到细；时间向右。颜色浅表示未用。",
    samples: "样本变化",
    sheet: (name: string) => `样本：${name}`,
    curve: (name: string, first: string, last: string) => `${name}：从 ${first} 到 ${last}`,
  },
});
