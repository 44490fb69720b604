/** Why a start failed, in words that say what to do. */

import { errorCode } from "../proxy/proxy-error.ts";
import type { Settings } from "../config/settings.ts";

/** A start that failed for a reason the operator can mend. `isWrongSetting` asks for exit code 2. */
export class StartError extends Error {
  readonly code: string;
  readonly isWrongSetting: boolean;
  constructor(code: string, message: string, options: { readonly cause?: unknown; readonly isWrongSetting?: boolean } = {}) {
    super(message, { cause: options.cause });
    this.name = "StartError";
    this.code = code;
    this.isWrongSetting = options.isWrongSetting ?? false;
  }
}

/** The listen errors that an operator can mend; any other passes as it is. */
export function listenError(error: unknown, settings: Settings): unknown {
  const code = errorCode(error);
  const where = `${settings.host}:${settings.port}`;
  if (code === "EADDRINUSE") {
    return new StartError("port_in_use", `${where} is in use. Set TALLYMAN_PORT to another port (0 takes any free one), or stop what listens there.`, { cause: error });
  }
  if (code === "EACCES") return new StartError("port_denied", `${where} may not be listened on. Set TALLYMAN_PORT to a port above 1023.`, { cause: error });
  if (code === "EADDRNOTAVAIL" || code === "ENOTFOUND") {
    return new StartError("host_unavailable", `${settings.host} is no address of this machine. Set TALLYMAN_HOST to one that is.`, { cause: error });
  }
  return error;
}
