/** A mask under the brush: bytes per pixel, 255 is drawn anew. Strokes, boxes, and the way back. Shows nothing. */

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

export interface Tip {
  /** Pixels from edge to edge. */
  readonly size: number;
  /** Share of the radius that fades, 0 to 1. */
  readonly softness: number;
  readonly erase: boolean;
}

const MOST_STEPS = 60;

export class Mask {
  readonly width: number;
  readonly height: number;
  data: Uint8Array; // H W
  #past: Uint8Array[] = [];
  #future: Uint8Array[] = [];

  constructor(width: number, height: number) {
    this.width = width;
    this.height = height;
    this.data = new Uint8Array(width * height);
  }

  get canUndo(): boolean {
    return this.#past.length > 0;
  }
  get canRedo(): boolean {
    return this.#future.length > 0;
  }
  /** Share that is drawn anew, 0 to 1. */
  get share(): number {
    return this.data.reduce((sum, v) => sum + v, 0) / 255 / this.data.length;
  }

  /** Before every change that is to be undone as one. */
  begin(): void {
    this.#past.push(this.data.slice());
    if (this.#past.length > MOST_STEPS) this.#past.shift();
    this.#future = [];
  }
  undo(): void {
    this.#step(this.#past, this.#future);
  }
  redo(): void {
    this.#step(this.#future, this.#past);
  }
  #step(from: Uint8Array[], to: Uint8Array[]): void {
    const data = from.pop();
    if (!data) return;
    to.push(this.data);
    this.data = data;
  }

  /** A stroke from one point to another, in pixels. */
  stroke(from: readonly [number, number], to: readonly [number, number], tip: Tip): void {
    const steps = Math.max(
      1,
      Math.ceil((4 * Math.hypot(to[0] - from[0], to[1] - from[1])) / tip.size),
    );
    for (let i = 0; i <= steps; i++) {
      const t = i / steps;
      this.#stamp(from[0] + t * (to[0] - from[0]), from[1] + t * (to[1] - from[1]), tip);
    }
  }

  #stamp(cx: number, cy: number, { size, softness, erase }: Tip): void {
    const radius = Math.max(0.5, size / 2);
    const solid = radius * (1 - softness);
    for (let y = Math.max(0, Math.floor(cy - radius)); y < Math.min(this.height, cy + radius); y++)
      for (
        let x = Math.max(0, Math.floor(cx - radius));
        x < Math.min(this.width, cx + radius);
        x++
      ) {
        const away = Math.hypot(x + 0.5 - cx, y + 0.5 - cy);
        if (away > radius) continue;
        const v = away <= solid ? 255 : Math.round((255 * (radius - away)) / (radius - solid));
        const i = y * this.width + x;
        this.data[i] = erase ? Math.min(this.data[i]!, 255 - v) : Math.max(this.data[i]!, v);
      }
  }

  fill({ x, y, w, h }: Box, value: 0 | 255): void {
    const [left, right] = [Math.max(0, x), Math.min(this.width, x + w)];
    for (let row = Math.max(0, y); row < Math.min(this.height, y + h); row++)
      this.data.fill(value, row * this.width + left, row * this.width + Math.max(left, right));
  }
  clear(): void {
    this.data.fill(0);
  }
  invert(): void {
    this.data = this.data.map((v) => 255 - v);
  }

  /** White where it is drawn anew, opaque: what the engine takes. */
  toImage(): ImageData {
    const image = new ImageData(this.width, this.height);
    for (const [i, v] of this.data.entries()) image.data.set([v, v, v, 255], 4 * i);
    return image;
  }
  /** Its paint as an overlay. */
  toOverlay([r, g, b]: readonly [number, number, number]): ImageData {
    const image = new ImageData(this.width, this.height);
    for (const [i, v] of this.data.entries())
      image.data.set([r, g, b, Math.round(0.72 * v)], 4 * i);
    return image;
  }
}
