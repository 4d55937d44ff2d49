// drizzle-kit reads this: `npx drizzle-kit migrate` with DATABASE_URL in the environment.
export default {
  dialect: "postgresql",
  schema: "./schema.ts",
  out: "./drizzle",
  dbCredentials: { url: process.env.DATABASE_URL ?? "" },
};
