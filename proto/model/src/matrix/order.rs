//! In which order chains are replayed into schemas. Must not know how a replay is done.

use serde::{Deserialize, Serialize};

use super::{Matrix, MatrixChain};

/// The order of the cells of a matrix: one cell is one chain in one schema.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Chain by chain: each in all of its schemas, then the next chain.
    #[default]
    Chain,
    /// Schema by schema: all chains of one, then the next schema.
    Schema,
    /// As listed: chain and schema.
    Cells(Vec<(String, String)>),
}

/// One chain in one schema.
pub type Cell<'a> = (&'a MatrixChain, &'a str);

impl Order {
    /// Reads `CHAIN in SCHEMA`.
    #[must_use]
    pub fn cell(text: &str) -> Option<(String, String)> {
        let (chain, schema) = text.split_once(" in ")?;
        Some((chain.trim().to_owned(), schema.trim().to_owned()))
    }
}

impl Matrix {
    /// Every cell, in the order in which they are replayed.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        self.stages().into_iter().flatten().flatten().collect()
    }

    /// The cells in stages, one after the other. In a stage are lanes, which do not need one another; in a lane are cells, in
    /// order.
    pub fn stages(&self) -> Vec<Vec<Vec<Cell<'_>>>> {
        let of_chain = |chain| -> Vec<Vec<Cell<'_>>> {
            let chain: &MatrixChain = chain;
            chain.schemas.iter().map(|schema| vec![(chain, schema.as_str())]).collect()
        };
        match &self.order {
            Order::Chain => self.chains.iter().map(of_chain).collect(),
            Order::Schema => {
                let schemas = self.managed_schemas();
                let lane = |schema| self.chains_of(schema).map(|chain| (chain, schema)).collect::<Vec<_>>();
                vec![schemas.into_iter().map(lane).filter(|lane| !lane.is_empty()).collect()]
            }
            Order::Cells(listed) => {
                let cell = |(chain, schema): &'_ (String, String)| {
                    let chain = self.chain(chain)?;
                    Some((chain, chain.schemas.iter().find(|s| *s == schema)?.as_str()))
                };
                vec![vec![listed.iter().filter_map(cell).collect()]]
            }
        }
    }

    /// What is wrong with a list of cells: each has to be in it once.
    pub(super) fn check_order(&self, problems: &mut Vec<String>) {
        let Order::Cells(listed) = &self.order else { return };
        for (at, (chain, schema)) in listed.iter().enumerate() {
            if !self.chain(chain).is_some_and(|it| it.schemas.contains(schema)) {
                problems.push(format!(
                    "the order lists \"{chain} in {schema}\", and chain {chain:?} has no such schema"
                ));
            }
            if listed[..at].contains(&listed[at]) {
                problems.push(format!("the order lists \"{chain} in {schema}\" twice"));
            }
        }
        for chain in &self.chains {
            for schema in &chain.schemas {
                if !listed.iter().any(|(c, s)| c == &chain.name && s == schema) {
                    problems.push(format!("the order leaves \"{} in {schema}\" out", chain.name));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(matrix: &Matrix) -> Vec<String> {
        let cells = matrix.cells().into_iter();
        cells.map(|(chain, schema)| format!("{} in {schema}", chain.name)).collect()
    }

    #[test]
    fn cells_come_by_chain_by_schema_or_as_listed() {
        let mut matrix = Matrix::builtin_default();
        let by_chain = names(&matrix);
        assert_eq!(by_chain[..2], ["core in general", "core in health"]);
        assert_eq!((matrix.stages().len(), matrix.stages()[0].len()), (2, 5));
        matrix.order = Order::Schema;
        assert_eq!(names(&matrix)[..3], ["core in general", "memory in general", "core in health"]);
        assert_eq!((matrix.stages().len(), matrix.stages()[0].len()), (1, 5));
        let mut listed: Vec<_> = by_chain.iter().rev().filter_map(|it| Order::cell(it)).collect();
        matrix.order = Order::Cells(listed.clone());
        assert_eq!(matrix.check(), [""; 0]);
        assert_eq!(names(&matrix), by_chain.into_iter().rev().collect::<Vec<_>>());
        assert_eq!((matrix.stages().len(), matrix.stages()[0].len()), (1, 1));

        listed[0] = ("core".to_owned(), "shared".to_owned());
        listed[1] = listed[2].clone();
        matrix.order = Order::Cells(listed);
        assert_eq!(
            matrix.check(),
            [
                "the order lists \"core in shared\", and chain \"core\" has no such schema",
                "the order lists \"memory in health\" twice",
                "the order leaves \"memory in relationship\" out",
                "the order leaves \"memory in switchboard\" out",
            ]
        );
    }
}
