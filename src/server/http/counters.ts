/** Figures for Prometheus, counted and written as its text format asks. Measures nothing itself. */

/** Upper ends of the buckets of seconds. */
const SECONDS = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300];
const PICTURES = [1, 2, 4, 8, 16, 32, 64, 128];

interface Histogram {
  readonly ends: readonly number[];
  readonly counts: number[];
  sum: number;
  count: number;
}

const histogram = (ends: readonly number[]): Histogram => ({
  ends,
  counts: ends.map(() => 0),
  sum: 0,
  count: 0,
});

function note(h: Histogram, value: number): void {
  for (const [i, end] of h.ends.entries()) if (value <= end) h.counts[i]! += 1;
  h.sum += value;
  h.count++;
}

/** Values that are read when they are asked for. */
export interface Gauges {
  readonly queued: () => number;
  readonly streams: () => number;
}

export interface Counters {
  request(route: string, status: number, seconds: number): void;
  batch(pictures: number, seconds: number): void;
  job(state: string): void;
  /** The whole page. */
  text(): string;
}

/** Prometheus exposition format 0.0.4. */
export function counters({ queued, streams }: Gauges): Counters {
  const requests = new Map<string, number>();
  const jobs = new Map<string, number>();
  const requestSeconds = histogram(SECONDS);
  const batchSeconds = histogram(SECONDS);
  const batchPictures = histogram(PICTURES);
  let pictures = 0;
  const add = (map: Map<string, number>, key: string) => map.set(key, (map.get(key) ?? 0) + 1);
  return {
    request(route, status, seconds) {
      add(requests, `route="${escaped(route)}",status="${status}"`);
      note(requestSeconds, seconds);
    },
    batch(n, seconds) {
      pictures += n;
      note(batchPictures, n);
      note(batchSeconds, seconds);
    },
    job: (state) => void add(jobs, `state="${escaped(state)}"`),
    text() {
      const { rss, heapUsed } = process.memoryUsage();
      return [
        ...counter("underpaint_requests_total", "Requests answered, by route and status", requests),
        ...counter("underpaint_jobs_total", "Jobs that ended, by how", jobs),
        ...counter("underpaint_pictures_total", "Pictures drawn", new Map([["", pictures]])),
        ...spread(
          "underpaint_request_seconds",
          "Seconds from a request to its answer",
          requestSeconds,
        ),
        ...spread("underpaint_batch_seconds", "Seconds that a batch took", batchSeconds),
        ...spread("underpaint_batch_pictures", "Pictures drawn together", batchPictures),
        ...gauge("underpaint_queue_pictures", "Pictures that wait or are drawn", queued()),
        ...gauge("underpaint_streams", "Streams of events that are open", streams()),
        ...gauge("process_resident_memory_bytes", "Resident memory", rss),
        ...gauge("nodejs_heap_used_bytes", "JavaScript heap in use", heapUsed),
        "",
      ].join("\n");
    },
  };
}

const escaped = (text: string): string => text.replace(/["\\\n]/g, "_");
const head = (name: string, help: string, type: string) => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];
const counter = (name: string, help: string, values: ReadonlyMap<string, number>): string[] => [
  ...head(name, help, "counter"),
  ...[...values].map(([labels, value]) => `${name}${labels && `{${labels}}`} ${value}`),
];
const gauge = (name: string, help: string, value: number): string[] => [
  ...head(name, help, "gauge"),
  `${name} ${value}`,
];
const spread = (name: string, help: string, h: Histogram): string[] => [
  ...head(name, help, "histogram"),
  ...h.ends.map((end, i) => `${name}_bucket{le="${end}"} ${h.counts[i]}`),
  `${name}_bucket{le="+Inf"} ${h.count}`,
  `${name}_sum ${h.sum}`,
  `${name}_count ${h.count}`,
];
