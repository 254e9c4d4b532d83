// What a dashboard of ours may be, in the types of Grafana's own schema: those of the dashboard, of its panels, and of the
// options and fields of each kind of panel that we use. Strings of enumerations count, as they stand in JSON. That package
// does not have the query of a Prometheus source: its two fields are written here.
import type { Dashboard, DataQuery, DataSourceRef, GraphFieldConfig, Panel } from "@grafana/schema";
import type { Options as StatOptions } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type { Options as SeriesOptions } from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Plain<T> = T extends string ? `${T}`
  : T extends number | boolean | null | undefined ? T
  : T extends (infer Each)[] ? Plain<Each>[]
  : T extends object ? { [Key in keyof T]: Plain<T[Key]> }
  : T;

type Query = DataQuery & { datasource: DataSourceRef; expr: string; legendFormat: string };
type Needed = "id" | "title" | "gridPos" | "datasource";
type Shown<Kind, Options, Fields> = Omit<Panel<Options, Fields>, "type" | "options" | "targets">
  & Required<Pick<Panel, Needed>>
  & { type: Kind; options: Options; targets: Query[] };
type Whole = Omit<Dashboard, "panels"> & {
  panels: (Shown<"timeseries", SeriesOptions, GraphFieldConfig> | Shown<"stat", StatOptions, never>)[];
};

export type Shipped = Plain<Whole>;
