use super::*;
use crate::invoice::headers::Wanted;
use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::{
    Array as _, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::i256;

fn written(columns: Vec<(&str, ArrayRef)>, properties: Option<WriterProperties>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), properties).expect("a writer");
    writer.write(&batch).expect("memory is written to");
    writer.close().expect("memory is written to");
    bytes
}

/// What the wanted columns are in each row.
fn read_all(bytes: &[u8], names: &[&str]) -> Result<(Vec<String>, Vec<Fingerprint>), String> {
    let mut wanted = Wanted::default();
    let slots: Vec<Slot> = names.iter().map(|name| wanted.slot(name)).collect();
    let (mut rows, mut fingerprints) = (Vec::new(), Vec::new());
    let read = read(Bytes::copy_from_slice(bytes), &wanted, |_| Ok(()), &mut |record: &Record| {
        let shown = slots.iter().map(|slot| match record.get(*slot) {
            Some((text, kind)) => format!("{kind:?} {text}"),
            None => "-".to_owned(),
        });
        rows.push(shown.collect::<Vec<_>>().join("|"));
        fingerprints.push(record.fingerprint);
        Ok(())
    });
    read.map(|_| (rows, fingerprints)).map_err(|error| error.to_string())
}

#[track_caller]
fn check(array: ArrayRef, expected: &[&str]) {
    let bytes = written(vec![("a", array)], None);
    assert_eq!(read_all(&bytes, &["a"]).expect("a file").0, expected);
}

#[test]
fn values_are_their_digits_and_dates() {
    check(Arc::new(Int64Array::from(vec![Some(-7), None])), &["Number -7", "-"]);
    check(Arc::new(StringArray::from(vec![Some("x y"), Some("NULL"), Some(" ")])), &["Text x y", "-", "-"]);
    check(Arc::new(BooleanArray::from(vec![true, false])), &["Text true", "Text false"]);
    let decimals = Decimal128Array::from(vec![-12_345, 5]).with_precision_and_scale(38, 3).expect("it fits");
    check(Arc::new(decimals), &["Number -12.345", "Number 0.005"]);
    let wide =
        Decimal256Array::from(vec![i256::from_i128(15)]).with_precision_and_scale(60, 20).expect("it fits");
    check(Arc::new(wide), &["Number 0.00000000000000000015"]);
    check(
        Arc::new(Float64Array::from(vec![0.1, 1e-7, 100.0])),
        &["Double 0.1", "Double 0.0000001", "Double 100"],
    );
    check(Arc::new(Date32Array::from(vec![20_392, -1])), &["Iso 2025-10-31", "Iso 1969-12-31"]);
    let micros = || TimestampMicrosecondArray::from(vec![1_761_951_600_000_000]);
    check(Arc::new(micros()), &["Iso 2025-10-31T23:00:00"]);
    check(Arc::new(micros().with_timezone("Europe/Berlin")), &["Iso 2025-10-31T23:00:00Z"]);
    let nanos = TimestampNanosecondArray::from(vec![1_761_951_600_000_000_999, -1]).with_timezone("UTC");
    check(Arc::new(nanos), &["Iso 2025-10-31T23:00:00Z", "Iso 1969-12-31T23:59:59.999999Z"]);
}

fn credits() -> ListArray {
    let names = Arc::new(StringArray::from(vec![Some("C\"UD"), Some("Free"), None])) as ArrayRef;
    let amounts =
        Arc::new(Decimal128Array::from(vec![-150, -2, -3]).with_precision_and_scale(10, 2).expect("it fits"));
    let items = StructArray::from(vec![
        (Arc::new(Field::new("name", names.data_type().clone(), true)), names),
        (Arc::new(Field::new("amount", amounts.data_type().clone(), true)), amounts as ArrayRef),
    ]);
    let item = Arc::new(Field::new("element", items.data_type().clone(), true));
    ListArray::new(item, OffsetBuffer::from_lengths([2, 0, 1]), Arc::new(items), None)
}

#[test]
fn structures_are_names_with_dots_and_lists_are_json() {
    let lists = r#"Text [{"name":"C\"UD","amount":-1.50},{"name":"Free","amount":-0.02}]"#;
    check(Arc::new(credits()), &[lists, "Text []", r#"Text [{"name":null,"amount":-0.03}]"#]);
    let wrapped = StructArray::from(vec![(
        Arc::new(Field::new("list", credits().data_type().clone(), true)),
        Arc::new(credits()) as ArrayRef,
    )]);
    check(Arc::new(wrapped), &[lists, "Text []", r#"Text [{"name":null,"amount":-0.03}]"#]);
    let inner = Arc::new(Int32Array::from(vec![1])) as ArrayRef;
    let one = StructArray::from(vec![(Arc::new(Field::new("cost", DataType::Int32, true)), inner)]);
    let two = StructArray::from(vec![(
        Arc::new(Field::new("day", one.data_type().clone(), true)),
        Arc::new(one) as ArrayRef,
    )]);
    let bytes = written(vec![("usage", Arc::new(two))], None);
    assert_eq!(read_all(&bytes, &["usage.day.cost", "cost"]).expect("a file").0, ["Number 1|-"]);
}

#[test]
fn rows_are_told_apart_by_all_their_columns() {
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("a", Arc::new(StringArray::from(vec![Some("1"), Some("1"), Some("1"), None]))),
            ("b", Arc::new(StringArray::from(vec![Some("x"), Some("x"), Some("y"), Some("1")]))),
        ]
    };
    let (_, prints) = read_all(&written(columns(), None), &["a"]).expect("a file");
    assert!(
        prints[0] == prints[1] && prints[0] != prints[2] && prints[0] != prints[3] && prints[2] != prints[3]
    );
}

#[test]
fn a_long_text_of_a_dictionary_is_bounded_by_its_rows() {
    let shared = |bytes: usize, rows: usize| {
        let large = WriterProperties::builder().set_dictionary_page_size_limit(32 << 20).build();
        let text = "x".repeat(bytes);
        let bytes = written(vec![("a", Arc::new(StringArray::from(vec![text.as_str(); rows])))], Some(large));
        assert!(bytes.len() < 32 << 20, "the text is there once: {}", bytes.len());
        read_all(&bytes, &["a"])
    };
    assert_eq!(shared(1 << 20, 50).expect("a file").0.len(), 50);
    assert!(
        shared((1 << 20) + 1, 1).expect_err("a cell").contains("record 1, column a: a cell of more than")
    );
    assert!(shared(20 << 20, 1).expect_err("a record").contains("record 1, column a: a record of more than"));
}

#[test]
fn a_list_of_long_texts_is_bounded() {
    let text = "x".repeat(1 << 20);
    let items = StringArray::from(vec![text.as_str(); 40]);
    let item = Arc::new(Field::new("element", DataType::Utf8, true));
    let list = ListArray::new(item, OffsetBuffer::from_lengths([40]), Arc::new(items), None);
    let error = read_all(&written(vec![("a", Arc::new(list))], None), &["a"]).expect_err("too much");
    assert!(error.contains("a list of more than"), "{error}");
}

#[test]
fn pages_are_bounded_before_they_are_expanded() {
    let zstd = Compression::ZSTD(ZstdLevel::default());
    let huge = WriterProperties::builder()
        .set_compression(zstd)
        .set_dictionary_enabled(false)
        .set_data_page_size_limit(1 << 30)
        .set_data_page_row_count_limit(usize::MAX)
        .set_write_batch_size(1 << 20)
        .build();
    let part = "x".repeat(1 << 20);
    let bytes = written(vec![("a", Arc::new(StringArray::from(vec![part.as_str(); 150])))], Some(huge));
    assert!(bytes.len() < 1 << 20, "it is compressed: {}", bytes.len());
    let error = read_all(&bytes, &["a"]).expect_err("a page too large");
    assert!(error.contains("column a: a page of 157"), "{error}");
}

#[test]
fn a_broken_file_is_refused_and_never_a_panic() {
    let amounts = Decimal128Array::from_iter_values(0..60).with_precision_and_scale(20, 2).expect("it fits");
    let names = StringArray::from_iter_values((0..60).map(|row| format!("sku-{}", row % 7)));
    let bytes = written(
        vec![("a", Arc::new(amounts)), ("b", Arc::new(names)), ("c", Arc::new(credits_of(60)))],
        None,
    );
    let whole = read_all(&bytes, &["a", "b", "c"]).expect("a file");
    for cut in [0, 3, 8, bytes.len() / 2, bytes.len() - 1] {
        read_all(&bytes[..cut], &["a"]).expect_err("a file that is cut");
    }
    // Whatever bit is wrong, it is an error or a value, and the file is no shorter than it says.
    let mut broken = bytes.clone();
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xFF] {
            broken[at] ^= flip;
            if let Ok((rows, _)) = read_all(&broken, &["a", "b", "c"]) {
                assert!(rows.len() <= 1_000_000, "{at}");
            }
            broken[at] ^= flip;
        }
    }
    assert_eq!(read_all(&broken, &["a", "b", "c"]), Ok(whole));
}

fn credits_of(rows: usize) -> ListArray {
    let items = Arc::new(Int32Array::from_iter_values(0..i32::try_from(rows).expect("few rows")));
    let item = Arc::new(Field::new("element", DataType::Int32, true));
    ListArray::new(item, OffsetBuffer::from_lengths(vec![1; rows]), items, None)
}
