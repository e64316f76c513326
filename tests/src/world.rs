//! Random databases: objects of every kind across managed and other schemas, each built on those before it.

/// Schemas that are dropped.
pub const MANAGED: [&str; 2] = ["m1", "m2"];
const SCHEMAS: [&str; 4] = ["m1", "m2", "u1", "u2"];
/// Extensions that any server with contrib has, with a type of each.
const EXTENSIONS: [(&str, &str); 4] =
    [("hstore", "hstore"), ("citext", "citext"), ("ltree", "ltree"), ("isn", "isbn")];

/// What later objects build on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    /// Has `id int`, `ref int`, `note text`, and a unique `id`.
    Table,
    /// Partitioned by list of `id`; a unique `id` as well.
    Partitioned,
    View,
    /// Usable as the type of a column.
    Type,
    Composite,
    /// `(int) RETURNS int IMMUTABLE`.
    Function,
    TriggerFunction,
    EventFunction,
    Sequence,
    Publication,
    Extension,
    Dictionary,
    Nothing,
}

/// One statement, and what it makes.
pub struct Step {
    /// Its text.
    pub sql: String,
    makes: (Kind, String),
}

/// A database under construction.
pub struct World {
    state: u64,
    made: Vec<(Kind, String)>,
    number: u32,
    schemas: usize,
    extensions: usize,
}

impl World {
    /// From a seed: the same seed makes the same database.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed, made: Vec::new(), number: 0, schemas: 0, extensions: 0 }
    }

    /// SplitMix64.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.random() % limit.max(1) as u64).unwrap_or_default()
    }

    /// How many statements it gets.
    pub fn size(&mut self) -> usize {
        SCHEMAS.len() + 22 + self.below(30)
    }

    /// What PostgreSQL took: later ones build on it.
    pub fn keep(&mut self, step: Step) {
        if step.makes.0 != Kind::Nothing {
            self.made.push(step.makes);
        }
    }

    fn schema(&mut self) -> &'static str {
        SCHEMAS[self.below(SCHEMAS.len())]
    }

    fn name(&mut self) -> String {
        self.number += 1;
        let number = self.number;
        format!("{}.o{number}", self.schema())
    }

    fn bare(&mut self) -> String {
        self.number += 1;
        format!("o{}", self.number)
    }

    fn pick(&mut self, kinds: &[Kind]) -> Option<String> {
        let of: Vec<String> =
            self.made.iter().filter(|(kind, _)| kinds.contains(kind)).map(|(_, name)| name.clone()).collect();
        (!of.is_empty()).then(|| of[self.below(of.len())].clone())
    }

    fn table(&mut self) -> Option<String> {
        self.pick(&[Kind::Table])
    }

    fn any_table(&mut self) -> Option<String> {
        self.pick(&[Kind::Table, Kind::Partitioned])
    }

    fn relation(&mut self) -> Option<String> {
        self.pick(&[Kind::Table, Kind::Partitioned, Kind::View])
    }

    fn function(&mut self) -> Option<String> {
        self.pick(&[Kind::Function])
    }

    fn of_some_type(&mut self) -> Option<String> {
        self.pick(&[Kind::Type, Kind::Composite, Kind::Table])
    }

    /// The next statement; `None` where what it needs is not there yet.
    pub fn step(&mut self) -> Option<Step> {
        if self.schemas < SCHEMAS.len() {
            let schema = SCHEMAS[self.schemas];
            self.schemas += 1;
            return Some(Step {
                sql: format!("CREATE SCHEMA {schema}"),
                makes: (Kind::Nothing, String::new()),
            });
        }
        let (sql, kind, name) = match self.below(46) {
            0..=4 => self.new_table(),
            5 => self.partitioned(),
            6..=7 => self.new_type(),
            8..=9 => self.new_function(),
            10 => self.extension(),
            11..=15 => self.column_or_view()?,
            16..=30 => self.on_tables()?,
            _ => self.on_functions()?,
        };
        Some(Step { sql, makes: (kind, name) })
    }

    fn new_table(&mut self) -> (String, Kind, String) {
        let name = self.name();
        let id = ["int PRIMARY KEY", "serial PRIMARY KEY", "int GENERATED ALWAYS AS IDENTITY UNIQUE"];
        let id = id[self.below(id.len())];
        (format!("CREATE TABLE {name} (id {id}, ref int, note text)"), Kind::Table, name)
    }

    fn partitioned(&mut self) -> (String, Kind, String) {
        let name = self.name();
        let sql =
            format!("CREATE TABLE {name} (id int PRIMARY KEY, ref int, note text) PARTITION BY LIST (id)");
        (sql, Kind::Partitioned, name)
    }

    fn new_type(&mut self) -> (String, Kind, String) {
        let name = self.name();
        match self.below(5) {
            0 => (format!("CREATE TYPE {name} AS ENUM ('a', 'b')"), Kind::Type, name),
            1 => {
                let of = self.of_some_type().unwrap_or_else(|| "text".to_owned());
                (format!("CREATE TYPE {name} AS (a int, b {of})"), Kind::Composite, name)
            }
            2 => (format!("CREATE TYPE {name} AS RANGE (subtype = int4)"), Kind::Type, name),
            3 => {
                let of = self.pick(&[Kind::Type]).unwrap_or_else(|| "text".to_owned());
                (format!("CREATE DOMAIN {name} AS {of}"), Kind::Type, name)
            }
            _ => match self.function() {
                Some(f) => (format!("CREATE DOMAIN {name} AS int CHECK ({f}(VALUE) > 0)"), Kind::Type, name),
                None => (format!("CREATE DOMAIN {name} AS int CHECK (VALUE > 0)"), Kind::Type, name),
            },
        }
    }

    fn new_function(&mut self) -> (String, Kind, String) {
        let name = self.name();
        let body = "LANGUAGE plpgsql AS $$ BEGIN";
        match self.below(6) {
            0 => (
                format!("CREATE FUNCTION {name}() RETURNS trigger {body} RETURN NEW; END $$"),
                Kind::TriggerFunction,
                name,
            ),
            1 => (
                format!("CREATE FUNCTION {name}() RETURNS event_trigger {body} NULL; END $$"),
                Kind::EventFunction,
                name,
            ),
            2 => (format!("CREATE SEQUENCE {name}"), Kind::Sequence, name),
            3 => {
                (format!("CREATE TEXT SEARCH DICTIONARY {name} (TEMPLATE = simple)"), Kind::Dictionary, name)
            }
            _ => (
                format!("CREATE FUNCTION {name}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'"),
                Kind::Function,
                name,
            ),
        }
    }

    fn extension(&mut self) -> (String, Kind, String) {
        let (name, of_type) = EXTENSIONS[self.extensions % EXTENSIONS.len()];
        self.extensions += 1;
        let schema = self.schema();
        let sql = format!("CREATE EXTENSION {name} SCHEMA {schema}");
        // Half of them are built on as types, half are given more members.
        match self.below(2) {
            0 => (sql, Kind::Type, format!("{schema}.{of_type}")),
            _ => (sql, Kind::Extension, name.to_owned()),
        }
    }

    fn column_or_view(&mut self) -> Option<(String, Kind, String)> {
        let name = self.name();
        let column = self.bare();
        Some(match self.below(9) {
            8 => {
                let (table, parent) = (self.name(), self.table()?);
                (format!("CREATE TABLE {table} (own{column} serial) INHERITS ({parent})"), Kind::View, table)
            }
            0..=1 => {
                let (table, of) = (self.any_table()?, self.of_some_type()?);
                (format!("ALTER TABLE {table} ADD COLUMN {column} {of}"), Kind::Nothing, name)
            }
            2 => {
                let (table, of) = (self.any_table()?, self.pick(&[Kind::Type])?);
                let index = format!("CREATE INDEX ON {table} ({column})");
                let sql = format!("ALTER TABLE {table} ADD COLUMN {column} {of}; {index}");
                (sql, Kind::Nothing, name)
            }
            3..=4 => {
                let of = self.relation()?;
                (format!("CREATE VIEW {name} AS SELECT id, ref, note FROM {of}"), Kind::View, name)
            }
            5 => {
                let of = self.relation()?;
                let sql = format!("CREATE MATERIALIZED VIEW {name} AS SELECT id, ref, note FROM {of}");
                (sql, Kind::View, name)
            }
            6 => {
                // Of a type of its own column, or the heir of a table.
                let columns = match self.below(2) {
                    0 => format!("(id int, c {})", self.pick(&[Kind::Type, Kind::Composite])?),
                    _ => format!("() INHERITS ({})", self.table()?),
                };
                (
                    format!(
                        "CREATE FOREIGN DATA WRAPPER w{column}; CREATE SERVER s{column} FOREIGN DATA WRAPPER w{column}; \
                         CREATE FOREIGN TABLE {name} {columns} SERVER s{column}"
                    ),
                    Kind::Nothing,
                    name,
                )
            }
            _ => {
                let of = self.pick(&[Kind::Composite])?;
                (format!("CREATE TABLE {name} OF {of}"), Kind::Nothing, name)
            }
        })
    }

    fn on_tables(&mut self) -> Option<(String, Kind, String)> {
        let name = self.name();
        let bare = self.bare();
        let nothing = Kind::Nothing;
        Some(match self.below(22) {
            0..=2 => {
                let (from, to) = (self.any_table()?, self.any_table()?);
                let key = format!("ADD CONSTRAINT {bare} FOREIGN KEY (ref) REFERENCES {to} (id)");
                (format!("ALTER TABLE {from} {key}"), nothing, name)
            }
            3 => {
                let parent = self.table()?;
                // The heir has no unique id of its own, so nothing is built on it but views.
                (format!("CREATE TABLE {name} (also{bare} serial) INHERITS ({parent})"), Kind::View, name)
            }
            4..=6 => {
                let parent = self.pick(&[Kind::Partitioned])?;
                let value = self.number;
                (
                    format!("CREATE TABLE {name} PARTITION OF {parent} FOR VALUES IN ({value})"),
                    Kind::Table,
                    name,
                )
            }
            7 => {
                let table = self.any_table()?;
                (format!("CREATE INDEX {bare} ON {table} (note, ref)"), nothing, name)
            }
            8 => {
                let (table, other) = (self.any_table()?, self.relation()?);
                let check = format!("USING (id IN (SELECT id FROM {other}))");
                (format!("CREATE POLICY {bare} ON {table} {check}"), nothing, name)
            }
            9 => {
                let (table, function) = (self.any_table()?, self.function()?);
                (format!("CREATE POLICY {bare} ON {table} USING ({function}(id) > 0)"), nothing, name)
            }
            10..=11 => {
                let (table, function) = (self.any_table()?, self.pick(&[Kind::TriggerFunction])?);
                let when = "BEFORE INSERT ON";
                let sql = format!(
                    "CREATE TRIGGER {bare} {when} {table} FOR EACH ROW EXECUTE FUNCTION {function}()"
                );
                (sql, nothing, name)
            }
            12 => {
                let (table, other) = (self.table()?, self.table()?);
                let action = format!("DO ALSO INSERT INTO {other} (ref) VALUES (NEW.ref)");
                (format!("CREATE RULE {bare} AS ON INSERT TO {table} {action}"), nothing, name)
            }
            13 => {
                let table = self.table()?;
                (format!("CREATE STATISTICS {name} ON id, ref FROM {table}"), nothing, name)
            }
            14 => {
                let (table, function) = (self.table()?, self.function()?);
                (format!("CREATE STATISTICS {name} ON (({function}(ref))) FROM {table}"), nothing, name)
            }
            15 => {
                let (a, b) = (self.table()?, self.table()?);
                let list = if a == b { a } else { format!("{a}, {b}") };
                (format!("CREATE PUBLICATION {bare} FOR TABLE {list}"), Kind::Publication, bare)
            }
            16 => {
                let schema = self.schema();
                (format!("CREATE PUBLICATION {bare} FOR TABLES IN SCHEMA {schema}"), Kind::Publication, bare)
            }
            17 => {
                let (publication, table) = (self.pick(&[Kind::Publication])?, self.table()?);
                (format!("ALTER PUBLICATION {publication} ADD TABLE {table}"), nothing, name)
            }
            18 => {
                let (table, sequence) = (self.any_table()?, self.pick(&[Kind::Sequence])?);
                (
                    format!("ALTER TABLE {table} ALTER COLUMN ref SET DEFAULT nextval('{sequence}')"),
                    nothing,
                    name,
                )
            }
            19 => {
                let extension = self.pick(&[Kind::Extension])?;
                let (what, object) = match self.below(2) {
                    0 => ("TABLE", self.table()?),
                    _ => ("FUNCTION", format!("{}(int)", self.function()?)),
                };
                (format!("ALTER EXTENSION {extension} ADD {what} {object}"), nothing, name)
            }
            20 => {
                let table = self.table()?;
                // An owned sequence lives beside its table.
                let schema = table.split('.').next().unwrap_or_default();
                let made = format!("{schema}.{bare}");
                let owned = format!("ALTER SEQUENCE {made} OWNED BY {table}.ref");
                (format!("CREATE SEQUENCE {made}; {owned}"), Kind::Sequence, made)
            }
            _ => {
                let schema = self.schema();
                let grant = "GRANT SELECT ON TABLES TO pg_monitor";
                (format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} {grant}"), nothing, name)
            }
        })
    }

    fn on_functions(&mut self) -> Option<(String, Kind, String)> {
        let name = self.name();
        let bare = self.bare();
        let nothing = Kind::Nothing;
        Some(match self.below(20) {
            0 => {
                let (table, function) = (self.any_table()?, self.function()?);
                (format!("ALTER TABLE {table} ALTER COLUMN ref SET DEFAULT {function}(1)"), nothing, name)
            }
            1 => {
                let (table, function) = (self.any_table()?, self.function()?);
                (
                    format!("ALTER TABLE {table} ADD CONSTRAINT {bare} CHECK ({function}(ref) > 0)"),
                    nothing,
                    name,
                )
            }
            2 => {
                let (table, function) = (self.any_table()?, self.function()?);
                (format!("CREATE INDEX {bare} ON {table} ({function}(ref))"), nothing, name)
            }
            3 => {
                let (table, function) = (self.table()?, self.function()?);
                let column = format!("{bare} int GENERATED ALWAYS AS ({function}(ref)) STORED");
                (format!("ALTER TABLE {table} ADD COLUMN {column}"), nothing, name)
            }
            4..=5 => {
                let of = self.of_some_type()?;
                (
                    format!("CREATE FUNCTION {name}({of}) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
                    nothing,
                    name,
                )
            }
            6 => {
                let relation = self.relation()?;
                let body = format!("BEGIN ATOMIC SELECT count(*) FROM {relation}; END");
                (format!("CREATE FUNCTION {name}() RETURNS bigint LANGUAGE sql {body}"), nothing, name)
            }
            7 => {
                let of = self.of_some_type()?;
                (
                    format!("CREATE PROCEDURE {name}(a {of}) LANGUAGE plpgsql AS $$ BEGIN NULL; END $$"),
                    nothing,
                    name,
                )
            }
            8 => {
                let schema = self.schema();
                let state = format!("{schema}.f{bare}");
                let of = self.pick(&[Kind::Function])?;
                // A state function of its own, or a final one of somebody else's.
                (
                    format!(
                        "CREATE FUNCTION {state}(int, int) RETURNS int LANGUAGE sql AS 'SELECT $1 + $2'; \
                         CREATE AGGREGATE {name}(int) (SFUNC = {state}, STYPE = int, FINALFUNC = {of})"
                    ),
                    nothing,
                    name,
                )
            }
            9 => {
                let function = self.function()?;
                let schema = name.split('.').next().unwrap_or_default().to_owned();
                let mark = ["@@@", "###", "<<<!", "~~~~", "|||&"][self.below(5)];
                let sql = format!("CREATE OPERATOR {schema}.{mark} (RIGHTARG = int, FUNCTION = {function})");
                (sql, nothing, name)
            }
            10 => {
                let of = self.pick(&[Kind::Composite])?;
                let function = format!("{}.c{bare}", self.schema());
                (
                    format!(
                        "CREATE FUNCTION {function}({of}) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
                         CREATE CAST ({of} AS int) WITH FUNCTION {function}({of})"
                    ),
                    nothing,
                    name,
                )
            }
            11..=12 => {
                let function = self.pick(&[Kind::EventFunction])?;
                (
                    format!("CREATE EVENT TRIGGER {bare} ON ddl_command_start EXECUTE FUNCTION {function}()"),
                    nothing,
                    name,
                )
            }
            13 | 18 | 19 => {
                let dictionary = self.pick(&[Kind::Dictionary])?;
                (
                    format!(
                        "CREATE TEXT SEARCH CONFIGURATION {name} (COPY = simple); ALTER TEXT SEARCH CONFIGURATION {name} \
                         ALTER MAPPING FOR word WITH {dictionary}"
                    ),
                    nothing,
                    name,
                )
            }
            14..=15 => {
                let schema = self.schema();
                let function = format!("{schema}.h{bare}");
                (
                    format!(
                        "CREATE FUNCTION {function}(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1'; \
                         CREATE OPERATOR CLASS {name} FOR TYPE int USING hash AS OPERATOR 1 pg_catalog.= (int, int), \
                         FUNCTION 1 {function}(int)"
                    ),
                    nothing,
                    name,
                )
            }
            16 => {
                let function = self.function()?;
                let of = format!("CREATE DOMAIN {name} AS int");
                (
                    format!("{of}; ALTER DOMAIN {name} ADD CONSTRAINT {bare} CHECK ({function}(VALUE) > 0)"),
                    Kind::Type,
                    name,
                )
            }
            _ => {
                let function = self.function()?;
                (
                    format!("CREATE VIEW {name} AS SELECT {function}(1) AS id, 1 AS ref, ''::text AS note"),
                    Kind::View,
                    name,
                )
            }
        })
    }
}
