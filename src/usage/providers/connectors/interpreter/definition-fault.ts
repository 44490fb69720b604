/** How faults of a connector's definition are told: all of them at once, each with the route it is in. */

/** One fault. `routeId` is undefined where it is not of one route. */
export interface DefinitionFault {
  readonly connectorId: string;
  readonly routeId: string | undefined;
  readonly message: string;
}

/** A definition that cannot be compiled. Its message has one line for each fault. */
export class ConnectorDefinitionError extends Error {
  override readonly name = "ConnectorDefinitionError";
  readonly code = "bad_connector_definition";
  readonly faults: readonly DefinitionFault[];

  constructor(faults: readonly DefinitionFault[]) {
    super(faults.map(faultText).join("\n"));
    this.faults = faults;
  }
}

/** "x, route tweets.lookup: count.len "a..b" has an empty step". */
export function faultText({ connectorId, routeId, message }: DefinitionFault): string {
  return `${connectorId}${routeId === undefined ? "" : `, route ${routeId}`}: ${message}`;
}

/** Takes the faults of one place. */
export type ReportFault = (message: string) => void;
