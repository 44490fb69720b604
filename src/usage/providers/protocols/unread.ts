/**
 * The reader of answers that cost something which no reader of ours knows yet: an error is free, and of a success
 * it says truly that its usage is not known.
 */

import type { ReadEnd, Reader, Reading } from "../../handler.ts";
import type { ResponseHead } from "../../../flow/flow.ts";

export function createUnreadReader(): Reader {
  let status = 0;
  return {
    response(head: ResponseHead) {
      status = head.status;
    },
    push() {
      // Nothing in the body is understood.
    },
    end(_end: ReadEnd): readonly Reading[] {
      if (status >= 200 && status < 300) return [{ kind: "unmeasured", reason: "format_not_read" }];
      return [{ kind: "free", reason: status === 0 ? "no_response" : "error_status" }];
    },
  };
}
