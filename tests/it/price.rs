//! The cost of a quantity: one file per model in tests/cases/price. The price as a catalog writes
//! it, a line of `---`, then paragraphs: `quantity`, optionally `after COUNT` (what the period had
//! counted before) and `of TOTAL` (all that it counts); below it the steps and their sum.

use crate::cases;
use rating::catalog::{Catalog, CatalogFiles};
use rating::exact::{Exact, display, exact};
use rating::price::{self, PriceModel, Stretch, Terms};
use rating::rounding;
use schemas::decimal::{QuantityTotal, Sign};
use std::fmt::Write as _;

#[test]
fn prices() {
    cases::for_each_file("price", check);
}

fn check(case: &str) -> String {
    let (price, paragraphs) = case.split_once("---\n").expect("a case has a price and a line of ---");
    let model = load(price);
    let mut output = format!("{price}---\n");
    for paragraph in paragraphs.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
        let question = paragraph.lines().next().expect("a paragraph is not empty");
        write!(output, "{question}\n{}\n\n", answer(&model, question)).expect("a String takes everything");
    }
    output.truncate(output.trim_end().len());
    output + "\n"
}

/// The steps, one a line, and their sum where there are several.
fn answer(terms: &Terms, question: &str) -> String {
    let words: Vec<&str> = question.split(' ').collect();
    let number = |text: &str| exact(QuantityTotal::parse(text, Sign::NonNegative).expect("a quantity"));
    let word_after =
        |word: &str| words.iter().position(|other| *other == word).map(|index| number(words[index + 1]));
    let quantity = number(words[0]);
    let before = word_after("after").unwrap_or_else(|| Exact::from_integer(0.into()));
    let period_total = word_after("of").unwrap_or_else(|| &before + &quantity);
    let steps = match &terms.model {
        PriceModel::Flat { amount, .. } => price::flat(*amount, &Exact::from_integer(1.into())),
        PriceModel::Credit { .. } => price::on_lines(terms, &quantity, &period_total, None),
        PriceModel::Minimum { .. } | PriceModel::Maximum { .. } => {
            price::on_lines(terms, &quantity, &Exact::from_integer(0.into()), None)
        }
        _ => {
            let first = before == Exact::from_integer(0.into());
            let quantity = terms.counted(&quantity);
            let period_total = period_total.max(&before + &quantity);
            price::steps(terms, &Stretch { before, quantity, period_total, first }, None)
        }
    };
    let bounds = |from: &Option<Exact>, to: &Option<Exact>| match (from, to) {
        (None, _) => String::new(),
        (Some(from), None) => format!(" above {}", display(from)),
        (Some(from), Some(to)) => format!(" above {} up to {}", display(from), display(to)),
    };
    let mut lines: Vec<String> = steps
        .iter()
        .map(|step| {
            let bounds = bounds(&step.from, &step.to);
            format!(
                "  {}{bounds}: {} × {} = {}",
                step.label,
                display(&step.quantity),
                display(&step.unit_price),
                display(&step.amount)
            )
        })
        .collect();
    lines.push(match rounding::amount(&price::total(&steps)) {
        Ok(amount) => format!("  = {amount}"),
        Err(error) => format!("  error: {error}"),
    });
    lines.join("\n")
}

/// The price of a catalog that holds nothing else.
fn load(price: &str) -> Terms {
    let is_one_of =
        |models: &[&str]| models.iter().any(|model| price.contains(&format!("model = \"{model}\"")));
    let (above, usage) = match () {
        () if is_one_of(&["flat"]) => ("", "allocation = \"even\""),
        () if is_one_of(&["minimum", "maximum", "credit"]) => (
            "[[sku]]\nid = \"B\"\nname = \"B\"\nallocation = \"even\"\n[[sku.price]]\nfrom = \"2025-01-01\"\nmodel = \"flat\"\namount = \"1\"\nevery = \"month\"\n",
            "of = [\"*\"]\nallocation = \"even\"",
        ),
        () => ("", "meter = \"m\"\nunit = \"1\"\nallocation = \"proportional\""),
    };
    let prices = format!(
        "{above}[[sku]]\nid = \"S\"\nname = \"S\"\n{usage}\n[[sku.price]]\nfrom = \"2025-01-01\"\n{price}"
    );
    let files = [
        ("catalog.toml", "operator = \"o\"\nname = \"O\"\n"),
        ("meters.toml", "[[meter]]\ntype = \"m\"\nunit = \"1\"\naggregation = \"sum\"\ndimensions = []\n"),
        ("customers.toml", "[[customer]]\nid = \"c\"\nname = \"C\"\ncurrency = \"EUR\"\n"),
        ("bindings.csv", "subject,customer,from,until\n"),
        (
            "providers/p/provider.toml",
            "id = \"p\"\nname = \"P\"\nbilling_account = \"1\"\ncurrency = \"EUR\"\ntime_zone = \"UTC\"\n[rounding]\nmode = \"half-up\"\n",
        ),
        ("providers/p/prices.toml", &prices),
    ];
    let files =
        CatalogFiles::new(files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect());
    let (catalog, _) = Catalog::load(&files).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let provider = catalog.providers.into_values().next().expect("the provider");
    let sku = provider.skus.last().expect("the SKU");
    sku.prices[0].terms.clone()
}
