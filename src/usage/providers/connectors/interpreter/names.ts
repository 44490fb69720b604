/** The forms of names in a definition. */

const CATEGORY = /^[a-z][a-z0-9_.]{0,99}$/;

/** "posts.read". */
export function isCategory(text: string): boolean {
  return CATEGORY.test(text);
}
