/** A watcher that writes a run's numbers and sheets as TensorBoard event files. Draws nothing. */

import { node } from "../formats/builtins.node.ts";
import { FILE_VERSION, SESSION_START, type TfEvent, tfEvent } from "../formats/tfevents.ts";
import type { Metrics } from "./run.node.ts";
import type { Watcher } from "./watch.ts";

/** Where PNG files have their size: width and height as big-endian numbers. */
const PNG_SIZE = 16;

/**
 * Writes into `folder` a file of its own for each process, as TensorBoard expects; a run that goes on tells it to
 * forget the updates that are done again. Numbers keep their names, sheets are "sheet".
 * @param options.clock milliseconds since 1970
 */
export function tensorboard(folder: string, { clock }: { clock: () => number }): Watcher {
  let file: Awaited<ReturnType<typeof node.fs.open>> | undefined;
  const write = async (event: TfEvent): Promise<void> => {
    const record = tfEvent({ wallTime: clock() / 1000, ...event });
    // One write, so that a kill leaves at most a torn last record, which readers skip.
    await file?.appendFile(record);
  };
  const scalars = (step: number, metrics: Metrics): Promise<void> =>
    write({
      step,
      summary: {
        values: Object.entries(metrics)
          .filter(([, value]) => Number.isFinite(value))
          .map(([tag, simpleValue]) => ({ tag, simpleValue })),
      },
    });
  return {
    name: "tensorboard",
    async start({ done }) {
      await node.fs.mkdir(folder, { recursive: true });
      const seconds = String(Math.floor(clock() / 1000)).padStart(10, "0");
      const name = `events.out.tfevents.${seconds}.${node.os.hostname()}.${process.pid}`;
      file = await node.fs.open(node.path.join(folder, name), "a");
      await write({ fileVersion: FILE_VERSION });
      if (done > 0) await write({ step: done + 1, sessionLog: { status: SESSION_START } });
    },
    afterStep: ({ step, metrics }) => scalars(step, metrics),
    evaluation: ({ step, metrics }) => scalars(step, metrics),
    async sheet({ step, file: picture }) {
      const encoded = new Uint8Array(await node.fs.readFile(picture));
      const view = new DataView(encoded.buffer, encoded.byteOffset);
      const [width, height] = [view.getUint32(PNG_SIZE), view.getUint32(PNG_SIZE + 4)];
      const image = { height, width, colorspace: 3, encoded };
      await write({ step, summary: { values: [{ tag: "sheet", image }] } });
    },
    async close() {
      await file?.close();
      file = undefined;
    },
  };
}
