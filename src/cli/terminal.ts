/** Where output goes: words for people to stderr, data for programs to stdout. Knows no command. */

/** The two ends of a command, so that tests can listen. */
export interface Terminal {
  /** One line for people. */
  say(line: string): void;
  /** One line for programs. */
  print(line: string): void;
  /** Text for people without a line end, for bars. */
  draw(text: string): void;
  /** Lines may be drawn over. */
  readonly live: boolean;
  /** Width of a line in characters. */
  readonly columns: number;
  /** Weak text, where the terminal shows it. */
  dim(text: string): string;
}

interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/**
 * The terminal of a process. NO_COLOR (no-color.org) and TERM=dumb take the colours away; a stderr that is no
 * terminal takes the moving bars away as well.
 */
export function terminal(
  { stdout, stderr }: { stdout: Stream; stderr: Stream } = process,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Terminal {
  const live = Boolean(stderr.isTTY) && env.TERM !== "dumb";
  const colour = live && !env.NO_COLOR;
  return {
    say: (line) => void stderr.write(`${line}\n`),
    print: (line) => void stdout.write(`${line}\n`),
    draw: (text) => void stderr.write(text),
    live,
    columns: stderr.columns ?? 80,
    dim: (text) => (colour ? `\x1b[2m${text}\x1b[22m` : text),
  };
}
