/** What an operator may say about how X bills the account. Counts follow the choice; prices are another matter. */

export interface XOptions {
  /**
   * The user who owns the developer app. Reads of that user's own lists count as `owned_reads`. Only right where the
   * app reads for this one user (reference/connectors.md section 2.3). Default: none.
   */
  readonly ownerUserId?: string | undefined;
  /**
   * What makes a post one with a URL. "text" (default): a link in its text, as X announced. "conservative": also a
   * quote, attached media, a card or a link into direct messages, for those who would rather count too dear.
   */
  readonly urlRule?: "text" | "conservative" | undefined;
  /** Which expanded objects count. Default "all"; "same-type": only those of the route's own category. */
  readonly includes?: "all" | "same-type" | "none" | undefined;
  /**
   * Whether reads are told apart by UTC day and credential, as X bills them: `posts.read.unique` beside `posts.read`.
   * Default false: X calls it a soft guarantee, and the proxy sees only a part of the account's reads.
   */
  readonly isDeduplicating?: boolean | undefined;
}
