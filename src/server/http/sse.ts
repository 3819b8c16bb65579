/** A stream of server-sent events from an async iterator, with a sign of life, ended with its client. Knows no jobs. */

/** One event; `id` lets a client that lost the connection go on after it. */
export interface ServerEvent {
  readonly id?: number;
  readonly event: string;
  readonly data: object;
}

/** How many streams are open. */
export interface Streams {
  open: number;
}

interface StreamOptions {
  events: (signal: AbortSignal) => AsyncIterable<ServerEvent>;
  streams: Streams;
  /** The client went away before the end. */
  onGone?: () => void;
}

/** Comments between events: proxies close what is silent for long. */
const SIGN_OF_LIFE = 15_000;

/** The answer to a request for a stream. */
export function eventStream(
  request: Request,
  { events, streams, onGone }: StreamOptions,
): Response {
  const own = new AbortController();
  const utf8 = new TextEncoder();
  let over = false;
  const gone = () => {
    if (over) return;
    over = true;
    own.abort();
    onGone?.();
  };
  request.signal.addEventListener("abort", gone);
  const body = new ReadableStream<Uint8Array>({
    async start(controller) {
      streams.open++;
      const write = (text: string) => {
        if (!over) controller.enqueue(utf8.encode(text));
      };
      const life = setInterval(() => write(":\n\n"), SIGN_OF_LIFE);
      try {
        for await (const { id, event, data } of events(own.signal))
          write(
            `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`,
          );
        over = true;
        controller.close();
      } catch (error) {
        if (!over) controller.error(error);
      } finally {
        clearInterval(life);
        streams.open--;
        request.signal.removeEventListener("abort", gone);
      }
    },
    cancel: gone,
  });
  return new Response(body, {
    headers: {
      "Content-Type": "text/event-stream",
      "Cache-Control": "no-store",
      "X-Accel-Buffering": "no",
    },
  });
}
