/** An SVG figure as pixels, for places that show no SVG. Draws no curves itself. */

import { drawSvg } from "../data/sharp.ts";
import { InputError } from "../formats/errors.ts";
import { encodePng } from "../formats/png.ts";

const SIZE = /^<svg([^>]*?) width="(\d+)" height="(\d+)"/;

/**
 * A figure of this house as PNG bytes, `zoom` times its size so that it is sharp on dense screens.
 * @throws InputError when the SVG does not begin with its width and height
 */
export async function figurePng(svg: string, { zoom = 2 } = {}): Promise<Uint8Array> {
  const [whole, before, width, height] = SIZE.exec(svg) ?? [];
  if (whole === undefined)
    throw new InputError(
      `figure begins with ${svg.slice(0, 40)}, want <svg with width and height in pixels`,
    );
  const root = `<svg${before} width="${Number(width) * zoom}" height="${Number(height) * zoom}"`;
  return encodePng(await drawSvg(root + svg.slice(whole.length)));
}
