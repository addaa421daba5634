//! Both engines: the same tables, and each statement prepared on the one and on the other.

use std::collections::{BTreeMap, HashSet};

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{
    AssertSqlSafe, Column, ConnectOptions, Either, Executor, Row, SqlSafeStr, Statement, TypeInfo,
};

use crate::store::migrate;
use crate::store::tests::postgres::{Postgres, SUPERUSER};
use crate::store::tests::scratch;
use crate::store::{details, sql};

/// The types that statements take and give: those that a column of ours has.
const TYPES: [&str; 3] = ["INT8", "TEXT", "BYTEA"];

/// A database with our tables. As an owner would make it: its user is not the superuser, and it sorts words as people do.
async fn database(server: &Postgres) -> PgConnection {
    let options = PgConnectOptions::new_without_pgpass().socket(server.socket());
    let connect = async |user: &str, database: &str| {
        let options = options.clone().username(user).database(database);
        options.connect().await.expect("connects")
    };
    let mut superuser = connect(SUPERUSER, "postgres").await;
    for made in [
        "CREATE ROLE picloud LOGIN",
        "CREATE DATABASE picloud OWNER picloud TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'",
    ] {
        superuser.execute(made).await.expect("is made");
    }
    let mut conn = connect("picloud", "picloud").await;
    for migration in migrate::ON_POSTGRES {
        conn.execute(sqlx::raw_sql(*migration)).await.expect("is migrated");
    }
    conn
}

/// The statement's name.
fn name(statement: &str) -> &str {
    let first = statement.lines().next().and_then(|line| line.strip_prefix("-- "));
    first.unwrap_or_else(|| panic!("begin with the statement's name: {statement}"))
}

/// What is wrong with a statement's types on PostgreSQL: SQLite looks at values only.
async fn odd_types(conn: &mut PgConnection, statement: &'static str) -> Vec<String> {
    let prepared = match conn.prepare(statement.into_sql_str()).await {
        Ok(prepared) => prepared,
        Err(error) => return vec![error.to_string()],
    };
    let parameters = match prepared.parameters() {
        Some(Either::Left(types)) => types.to_vec(),
        Some(Either::Right(_)) | None => panic!("PostgreSQL says what it was asked"),
    };
    let parameters = (1..).zip(&parameters).map(|(at, kind)| (format!("${at}"), kind.name()));
    let columns = prepared.columns().iter();
    let columns = columns.map(|one| (format!("column {}", one.ordinal()), one.type_info().name()));
    let odd = parameters.chain(columns).filter(|(_, kind)| !TYPES.contains(kind));
    odd.map(|(place, kind)| format!("{place} is {kind}")).collect()
}

#[tokio::test]
async fn every_statement_has_its_own_name_and_can_be_prepared_on_both_engines() {
    let mut scratch = scratch().await;
    let server = Postgres::start();
    let mut conn = database(&server).await;
    let (mut names, mut wrong) = (HashSet::new(), Vec::new());
    for (on_sqlite, on_postgres) in sql::ALL.iter().chain(details::ALL) {
        let name = name(on_sqlite);
        assert!(names.insert(name), "two statements are called {name}");
        assert_eq!(name, self::name(on_postgres));
        if let Err(error) = scratch.conn().prepare(on_sqlite.into_sql_str()).await {
            wrong.push(format!("{name} on SQLite: {error}"));
        }
        let odd = odd_types(&mut conn, on_postgres).await;
        wrong.extend(odd.iter().map(|why| format!("{name} on PostgreSQL: {why}")));
    }
    assert!(names.len() > 100, "there are only {} statements", names.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The steps of a statement's plan on PostgreSQL, whatever its parameters are, when it scans tables only for want of an index.
async fn plan(conn: &mut PgConnection, statement: &'static str) -> Vec<String> {
    let prepared = conn.prepare(statement.into_sql_str()).await.expect("was prepared before");
    let parameters = match prepared.parameters() {
        Some(Either::Left(types)) => vec!["NULL"; types.len()].join(", "),
        Some(Either::Right(_)) | None => panic!("PostgreSQL says what it was asked"),
    };
    let arguments = if parameters.is_empty() { parameters } else { format!("({parameters})") };
    let begin = format!(
        "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; PREPARE one AS {statement}"
    );
    conn.execute(sqlx::raw_sql(AssertSqlSafe(begin))).await.expect("is prepared");
    let explain = AssertSqlSafe(format!("EXPLAIN (COSTS off) EXECUTE one {arguments}"));
    let steps: Vec<String> = sqlx::raw_sql(explain)
        .fetch_all(&mut *conn)
        .await
        .expect("is explained")
        .iter()
        .map(|row| row.get(0))
        .collect();
    conn.execute("DEALLOCATE one").await.expect("is forgotten");
    steps
}

#[tokio::test]
async fn no_statement_scans_a_growing_table_on_postgres() {
    let server = Postgres::start();
    let mut conn = database(&server).await;
    let mut scanned = Vec::new();
    for (_, statement) in sql::ALL.iter().chain(details::ALL) {
        let steps = plan(&mut conn, statement).await;
        let scan = steps.iter().find(|step| {
            let table = step.split_once("Seq Scan on ").map(|(_, table)| table);
            let table = table.and_then(|table| table.split(' ').next());
            table.is_some_and(|table| sql::tests::GROWING.contains(&table))
        });
        scanned.extend(scan.map(|_| format!("{statement}\n{}", steps.join("\n"))));
    }
    assert!(scanned.is_empty(), "{}", scanned.join("\n\n"));
}

/// Tables and indexes by their names, each with what matters of it.
type Schema = BTreeMap<String, String>;

const SQLITE_COLUMNS: &str = "SELECT t.name || '.' || c.name,
        CASE c.type WHEN 'INTEGER' THEN 'bigint' WHEN 'TEXT' THEN 'text C' WHEN 'BLOB' THEN 'bytea' ELSE c.type END
        || CASE WHEN c.\"notnull\" OR c.pk > 0 THEN ' not null' ELSE '' END
        || CASE WHEN c.pk > 0 THEN ' key ' || c.pk ELSE '' END
    FROM pragma_table_list t JOIN pragma_table_info(t.name) c
    WHERE t.schema = 'main' AND t.name NOT LIKE 'sqlite%'";
const POSTGRES_COLUMNS: &str = "SELECT c.table_name || '.' || c.column_name,
        c.data_type || coalesce(' ' || c.collation_name, '')
        || CASE WHEN c.is_nullable = 'NO' THEN ' not null' ELSE '' END
        || coalesce(' key ' || k.ordinal_position, '')
    FROM information_schema.columns c
    LEFT JOIN information_schema.table_constraints p ON p.table_schema = c.table_schema
        AND p.table_name = c.table_name AND p.constraint_type = 'PRIMARY KEY'
    LEFT JOIN information_schema.key_column_usage k ON k.constraint_schema = p.constraint_schema
        AND k.constraint_name = p.constraint_name AND k.column_name = c.column_name
    WHERE c.table_schema = 'public'";

const SQLITE_INDEXES: &str = "SELECT i.name, group_concat(c.name, ', ' ORDER BY c.seqno)
        || CASE WHEN i.partial THEN ' of some' ELSE '' END
    FROM pragma_table_list t JOIN pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c
    WHERE t.schema = 'main' AND i.origin = 'c' GROUP BY i.name, i.partial";
const POSTGRES_INDEXES: &str = "SELECT n.relname::text, string_agg(a.attname::text, ', ' ORDER BY a.attnum)
        || CASE WHEN i.indpred IS NULL THEN '' ELSE ' of some' END
    FROM pg_index i JOIN pg_class n ON n.oid = i.indexrelid JOIN pg_attribute a ON a.attrelid = n.oid
    WHERE n.relnamespace = 'public'::regnamespace AND NOT i.indisunique GROUP BY n.relname, i.indpred";

const SQLITE_RULES: &str =
    "SELECT t.name || ' unique ' || group_concat(c.name, ', ' ORDER BY c.name), ''
    FROM pragma_table_list t JOIN pragma_index_list(t.name) i JOIN pragma_index_info(i.name) c
    WHERE t.schema = 'main' AND i.origin = 'u' GROUP BY t.name, i.name
    UNION ALL
    SELECT t.name || '.' || f.\"from\" || ' to ' || f.\"table\", lower(f.on_delete)
    FROM pragma_table_list t JOIN pragma_foreign_key_list(t.name) f";
const POSTGRES_RULES: &str = "SELECT r.conrelid::regclass || ' unique ' || string_agg(a.attname::text, ', ' ORDER BY a.attname), ''
    FROM pg_constraint r JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY (r.conkey)
    WHERE r.connamespace = 'public'::regnamespace AND r.contype = 'u' GROUP BY r.oid, r.conrelid
    UNION ALL
    SELECT r.conrelid::regclass || '.' || a.attname || ' to ' || r.confrelid::regclass,
        CASE r.confdeltype WHEN 'c' THEN 'cascade' ELSE r.confdeltype::text END
    FROM pg_constraint r JOIN pg_attribute a ON a.attrelid = r.conrelid AND a.attnum = ANY (r.conkey)
    WHERE r.connamespace = 'public'::regnamespace AND r.contype = 'f'";

#[tokio::test]
async fn both_engines_have_the_same_tables_indexes_and_rules() {
    let mut scratch = scratch().await;
    let server = Postgres::start();
    let mut conn = database(&server).await;
    for (on_sqlite, on_postgres) in [
        (SQLITE_COLUMNS, POSTGRES_COLUMNS),
        (SQLITE_INDEXES, POSTGRES_INDEXES),
        (SQLITE_RULES, POSTGRES_RULES),
    ] {
        let sqlite: Vec<(String, String)> =
            sqlx::query_as(on_sqlite).fetch_all(scratch.conn()).await.expect("lists");
        let postgres: Vec<(String, String)> =
            sqlx::query_as(on_postgres).fetch_all(&mut conn).await.expect("lists");
        let sqlite: Schema = sqlite.into_iter().collect();
        let postgres: Schema = postgres.into_iter().collect();
        assert!(sqlite.len() > 10, "{sqlite:?}");
        assert_eq!(postgres, sqlite);
    }
}

#[tokio::test]
async fn a_list_of_rows_is_opened_alike_by_both_engines() {
    let mut scratch = scratch().await;
    let server = Postgres::start();
    let mut conn = database(&server).await;
    let rows = format!(r#"[["a \"\\u0000\" \\ é",{},null],["",{},"x"]]"#, i64::MAX, i64::MIN);
    let fields = "SELECT k.key, k.value ->> 0, CAST(k.value ->> 1 AS BIGINT), k.value ->> 2, k.atom
        FROM jsonb_each($1) k ORDER BY k.key";
    let atoms = "SELECT k.key, k.atom, CAST(NULL AS BIGINT), k.atom, k.atom FROM jsonb_each($1) k ORDER BY k.key";
    for (statement, list) in [(fields, &*rows), (atoms, r#"["01A","é",null]"#), (atoms, "[]")] {
        type Fields = (i64, Option<String>, Option<i64>, Option<String>, Option<String>);
        let sqlite =
            sqlx::query_as::<_, Fields>(statement).bind(list).fetch_all(scratch.conn()).await;
        let postgres = sqlx::query_as::<_, Fields>(statement).bind(list).fetch_all(&mut conn).await;
        assert_eq!(postgres.expect("opens"), sqlite.expect("opens"), "{list}");
    }
}
