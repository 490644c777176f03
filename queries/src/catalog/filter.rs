//! Which conditions ClickHouse may check in our place: comparisons of a column with a constant, and memberships.
//!
//! Only those whose meaning is the same in both engines are on the list; everything else stays with DataFusion.
//! Constants travel as bound parameters.

use super::table::Table;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, expr::InList};
use serde::{Deserialize, Serialize};

/// A constant on its way to ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Constant {
    Text(String),
    Integer(i64),
}

impl Constant {
    fn kind(&self) -> &'static str {
        match self {
            Constant::Text(_) => "String",
            Constant::Integer(_) => "Int64",
        }
    }
}

/// Parameters by name, in the order of their places.
pub(crate) type Constants = Vec<(String, Constant)>;

/// The condition as ClickHouse has it, its constants appended to `constants`; `None` where it is not on the list.
pub(super) fn translate(filter: &Expr, table: &Table, constants: &mut Constants) -> Option<String> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if *op == Operator::And => {
            let (left, right) = (translate(left, table, constants)?, translate(right, table, constants)?);
            Some(format!("({left} AND {right})"))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (column, op, constant) = match (constant(left), constant(right)) {
                (None, Some(constant)) => (column(left, table)?, *op, constant),
                (Some(constant), None) => (column(right, table)?, op.swap()?, constant),
                _ => return None,
            };
            let sign = sign(op)?;
            Some(format!("{column} {sign} {}", bind(constant, constants)))
        }
        Expr::InList(InList { expr, list, negated: false }) if !list.is_empty() => {
            let column = column(expr, table)?;
            let all: Option<Vec<Constant>> = list.iter().map(constant).collect();
            let all: Vec<String> = all?.into_iter().map(|one| bind(one, constants)).collect();
            Some(format!("{column} IN ({})", all.join(", ")))
        }
        _ => None,
    }
}

fn sign(op: Operator) -> Option<&'static str> {
    Some(match op {
        Operator::Eq => "=",
        Operator::NotEq => "!=",
        Operator::Lt => "<",
        Operator::LtEq => "<=",
        Operator::Gt => ">",
        Operator::GtEq => ">=",
        _ => return None,
    })
}

fn column<'a>(expr: &Expr, table: &'a Table) -> Option<&'a str> {
    let Expr::Column(named) = expr else { return None };
    table.columns.iter().find(|c| c.name == named.name).map(|c| c.sql.as_str())
}

fn constant(expr: &Expr) -> Option<Constant> {
    let Expr::Literal(value, _) = expr else { return None };
    match value {
        ScalarValue::Utf8(Some(text))
        | ScalarValue::Utf8View(Some(text))
        | ScalarValue::LargeUtf8(Some(text)) => Some(Constant::Text(text.clone())),
        ScalarValue::Int64(Some(number)) => Some(Constant::Integer(*number)),
        _ => None,
    }
}

fn bind(constant: Constant, constants: &mut Constants) -> String {
    let name = format!("c{}", constants.len());
    let place = format!("{{{name}:{}}}", constant.kind());
    constants.push((name, constant));
    place
}

#[cfg(test)]
mod tests {
    use super::{Constant, translate};
    use crate::catalog::tables;
    use datafusion::prelude::{Expr, col, lit};

    fn of(filter: &Expr) -> Option<(String, Vec<(String, Constant)>)> {
        let table = tables().iter().find(|t| t.name == "task_events").expect("the table");
        let mut constants = Vec::new();
        translate(filter, table, &mut constants).map(|sql| (sql, constants))
    }

    /// Scenario: conditions that both engines understand alike, one of them hostile.
    /// Guarantees: the column's own expression, the constant as a parameter and never as text.
    #[test]
    fn on_the_list() {
        let (sql, constants) = of(&col("kind").eq(lit("x' OR 1 --"))).expect("a condition");
        assert_eq!(sql, "toString(t.kind) = {c0:String}");
        assert_eq!(constants, [("c0".to_owned(), Constant::Text("x' OR 1 --".to_owned()))]);
        let (sql, constants) = of(&lit(5_i64).lt_eq(col("state_version"))).expect("a condition");
        assert_eq!(sql, "toInt64(t.state_version) >= {c0:Int64}");
        assert_eq!(constants, [("c0".to_owned(), Constant::Integer(5))]);
        let both = col("kind").in_list(vec![lit("A"), lit("B")], false).and(col("offset").gt(lit(1_i64)));
        let (sql, _) = of(&both).expect("a condition");
        assert_eq!(
            sql,
            "(toString(t.kind) IN ({c0:String}, {c1:String}) AND toInt64(t.offset) > {c2:Int64})"
        );
    }

    /// Scenario: conditions whose meaning may differ: patterns, negated lists, two columns, an unknown column, a fraction.
    /// Guarantees: they stay here.
    #[test]
    fn not_on_the_list() {
        let all = [
            col("kind").like(lit("S%")),
            col("kind").in_list(vec![lit("A")], true),
            col("kind").eq(col("queue")),
            col("nonsense").eq(lit(1_i64)),
            col("offset").gt(lit(0.5)),
            col("kind").eq(lit("A")).or(col("kind").eq(lit("B"))),
        ];
        for filter in all {
            assert_eq!(of(&filter), None, "{filter}");
        }
    }
}
