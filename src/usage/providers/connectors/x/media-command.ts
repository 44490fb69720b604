/**
 * Media upload where one path does everything (v1.1, and the older form of v2): `command` in the query, the form or the
 * multipart body says which step it is. Without it the whole file is in the request. Source: reference/connectors.md
 * section 2.8.
 */

import type { Hook, HookContext } from "../definition.ts";

const UPLOADS = "media.upload";
export const UPLOAD_BYTES = "media.upload_bytes";

/** Bytes of the request that are kept: clients write `command` before the file. */
export const MAX_COMMAND_BYTES = 16 * 1024;

/** Where an answer names the medium. */
const ID_PATHS = ["media_id_string", "media_id", "data.id"];

export const mediaCommandHook: Hook = {
  probes: ID_PATHS,
  onSuccess(context) {
    const body = context.requestBody();
    const command = context.query.get("command") ?? body.form?.get("command");
    switch (command?.toUpperCase()) {
      case "INIT":
      case "STATUS":
        return;
      case "APPEND":
        return context.emit(UPLOAD_BYTES, body.totalBytes);
      case "FINALIZE":
        return context.emit(UPLOADS, 1);
      default:
        context.emit(UPLOAD_BYTES, body.totalBytes);
        // A file before its command hides it, but only a whole upload is answered with an id.
        if (isNamed(context)) context.emit(UPLOADS, 1);
    }
  },
};

function isNamed(context: HookContext): boolean {
  return ID_PATHS.some((path) => context.probe(path) !== undefined);
}
