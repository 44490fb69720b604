/** Paths as endpoints are matched by. */

const SLASH = 0x2f;

/** A path without the slashes at its end. Linear, unlike a regular expression for it on a path of slashes. */
export function trimTrailingSlashes(path: string): string {
  let end = path.length;
  while (end > 0 && path.charCodeAt(end - 1) === SLASH) end--;
  return path.slice(0, end);
}
