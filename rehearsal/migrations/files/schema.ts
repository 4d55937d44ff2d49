// The control plane's tables, as its newest release knows them.
import { sql } from "drizzle-orm";
import {
  bigint, bigserial, check, index, integer, pgTable, text, timestamp, unique,
} from "drizzle-orm/pg-core";

const moment = (name: string) => timestamp(name, { withTimezone: true });

export const organizations = pgTable(
  "organizations",
  {
    id: bigint("id", { mode: "number" }).primaryKey(),
    name: text("name").notNull(),
    plan: text("plan").notNull(),
  },
  (table) => [
    unique("organizations_name_unique").on(table.name),
    check("organizations_plan_known", sql`${table.plan} in ('free', 'team', 'enterprise')`),
  ],
);

export const users = pgTable(
  "users",
  {
    id: bigserial("id", { mode: "number" }).primaryKey(),
    organizationId: bigint("organization_id", { mode: "number" }).notNull().references(() => organizations.id),
    email: text("email").notNull(),
    createdAt: moment("created_at").notNull().defaultNow(),
  },
  (table) => [
    unique("users_email_unique").on(table.email),
    check("users_email_has_an_at", sql`position('@' in ${table.email}) > 1`),
    index("users_of_organization").on(table.organizationId),
  ],
);

export const agents = pgTable(
  "agents",
  {
    id: bigserial("id", { mode: "number" }).primaryKey(),
    organizationId: bigint("organization_id", { mode: "number" }).notNull().references(() => organizations.id),
    name: text("name").notNull(),
    version: text("version").notNull().default("1.0.0"),
    createdAt: moment("created_at").notNull().defaultNow(),
  },
  (table) => [unique("agents_name_unique").on(table.name), index("agents_of_organization").on(table.organizationId)],
);

export const records = pgTable(
  "records",
  {
    id: bigint("id", { mode: "number" }).primaryKey(),
    body: text("body").notNull(),
    writtenAt: moment("written_at").notNull().defaultNow(),
    organizationId: bigint("organization_id", { mode: "number" }).notNull().default(1).references(() => organizations.id),
  },
  (table) => [index("records_of_organization").on(table.organizationId)],
);

export const heartbeats = pgTable(
  "heartbeats",
  { agent: text("agent").notNull(), at: moment("at").notNull() },
  (table) => [index("heartbeats_newest").on(table.agent, table.at.desc())],
);

export const healthProbe = pgTable("health_probe", { id: integer("id").primaryKey(), at: moment("at").notNull() });
