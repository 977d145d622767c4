"""From quantities to money: cost lines, who bears them, what the statements say."""

from collections import defaultdict
from fractions import Fraction
from zoneinfo import ZoneInfo

from oracle_catalog import FOREVER, allocate, billing_days, midnight, minor_digits, month_after, seconds, to_places, utc_month, worth
from oracle_meters import aggregate, by, cut

KEY = "provider billing_account sub_account sku charge_period_start charge_period_end currency".split()
# After everybody who has an id, whatever the id: usage without a customer, and what has no usage.
LAST = chr(0x10FFFF) * 2
IDLE = chr(0x10FFFF) * 3
# NOTES.md, 1: whether a line of 0 leaves its sharers of weight 0 with 0 (as old catalogs always did), or is idle.
ZERO_LINES_KEEP_SHARERS = True


class CannotRate(Exception):
    """The run is refused, for a reason that people have to see to."""


# Prices


def clamp(low, value, high):
    return max(low, min(value, high))


def steps_of(price, before, used, in_period, first):
    """The exact amounts that add up to the cost of `used`, when `before` was counted already and the whole period has `in_period`."""
    if free := Fraction(price.get("free", 0)):
        beyond = [max(Fraction(0), count - free) for count in (before, before + used, in_period)]
        before, used, in_period = beyond[0], beyond[1] - beyond[0], beyond[2]
    match price["model"]:
        case "per_unit":
            yield used * Fraction(price["unit_price"])
        case "graduated":
            below = Fraction(0)
            for number, tier in enumerate(price["tiers"]):
                above = Fraction(tier["up_to"]) if "up_to" in tier else max(below, before + used)
                yield (clamp(below, before + used, above) - clamp(below, before, above)) * Fraction(tier["unit_price"])
                if first if number == 0 else before <= below < before + used:
                    yield Fraction(tier.get("flat", 0))
                below = above
        case "volume":
            tier = next(tier for tier in price["tiers"] if "up_to" not in tier or in_period <= Fraction(tier["up_to"]))
            yield used * Fraction(tier["unit_price"])
            if first:
                yield Fraction(tier.get("flat", 0))
        case "package":
            size = Fraction(price["size"])
            yield (-((before + used) // -size) + before // -size) * Fraction(price["package_price"])
        case "zero":
            yield Fraction(0)


def costs(provider, parts):
    """The exact cost of each (price, quantity) of one billing period, in order."""
    steps = provider["rounding"].get("steps")
    in_period, before = sum(quantity for _, quantity in parts), Fraction(0)
    for number, (price, quantity) in enumerate(parts):
        amounts = steps_of(price, before, quantity, in_period, number == 0)
        yield sum(to_places(amount, int(steps["places"]), steps["mode"]) if steps else amount for amount in amounts)
        before += quantity


# What is rated


def rated(usage, name, month):
    """What counts of the provider's billing period, by SKU: (item, customer, place of the price)."""
    catalog, period, found = usage.catalog, usage.catalog.billing_period(name, month), defaultdict(list)
    for meter in catalog.meters.values():
        if catalog.metered.get((name, meter["type"])):
            bounds = usage.bounds(name, meter) | set(period)
            for piece, customer in within(usage, usage.items(meter), period, bounds):
                if usage.home(piece.event) == (name, None):
                    sku = catalog.sku(name, meter["type"], dict(piece.event.dimensions), piece.start)
                    price = catalog.price_at(name, sku, piece.start) if sku else None
                    if price is not None:
                        found[sku["id"]].append((piece, customer, price))
    return found


def within(usage, items, period, bounds):
    """Pieces of a period, each with its customer."""
    for item in items:
        if item.start < period[1] and (item.start >= period[0] or item.end and item.end > period[0]):
            edges = {edge for since, until, _ in usage.catalog.bindings.get(item.event.subject, []) for edge in (since, until)} if item.end else ()
            for piece in cut(item, bounds.union(period, edges)):
                if period[0] <= piece.start < period[1]:
                    yield piece, usage.catalog.customer(piece.event.subject, piece.start)


def unrated(usage, month):
    catalog, parts = usage.catalog, defaultdict(list)
    for meter in catalog.meters.values():
        for item in usage.items(meter):
            parts[item.event].append((meter, item))
    rows = defaultdict(lambda: [Fraction(0), 0])
    for event in usage.ledger.events:
        home, reason = usage.home(event)
        start, end = catalog.billing_period(home, month) if home in catalog.providers else utc_month(month)
        if not start <= event.time < end:
            continue
        if reason is None:
            reason = why_unrated(usage, home, event, parts[event])
        if reason and not (reason == "no-sku" and is_key(catalog, event)):
            row = rows[reason, home if reason == "no-price" else event.provider, event.type, event.subject]
            row[0] += event.value
            row[1] += 1
    return rows


def why_unrated(usage, provider, event, items):
    """`no-sku` if no part is taken, `no-price` if a part of what a meter has a SKU for lies where no SKU has a price."""
    catalog, dimensions, is_taken, lacks = usage.catalog, dict(event.dimensions), False, False
    meters = catalog.reads[event.type]
    for meter in meters:
        bounds = usage.bounds(provider, meter)
        pieces = [piece for of, item in items if of is meter for piece in cut(item, bounds)]
        # What only sets a beginning, a first reading say, is where it is.
        times = {piece.start for piece in pieces} | {event.time}
        if any(catalog.sku(provider, meter["type"], dimensions, time) for time in times):
            is_taken = True
            for time in times:
                skus = [catalog.sku(provider, other["type"], dimensions, time) for other in meters]
                lacks |= all(catalog.price_at(provider, sku, time) is None for sku in skus if sku)
    return "no-price" if lacks else None if is_taken else "no-sku"


def is_key(catalog, event):
    for name, skus in catalog.skus.items():
        if event.provider in (None, name):
            for sku in skus:
                if sku["allocation"] == "by_meter" and catalog.meters[sku["key"]] in catalog.reads[event.type] and catalog.takes_at(name, sku, event.time):
                    return True
    return False


# Cost lines


class Share:
    """The weight of a sharer, and what its charge shows."""

    def __init__(self, weight, quantity=None, standalone=None):
        self.weight, self.quantity, self.standalone = weight, quantity, standalone


def provider_lines(usage, name, month):
    """The cost lines of a provider's billing period with their charges, in the order of the file."""
    key = "lines", name, month
    if key not in usage.runs:
        provider, found, lines = usage.catalog.providers[name], rated(usage, name, month), []
        for sku in usage.catalog.skus[name]:
            if "of" in sku:
                lines += on_lines(usage, provider, sku, month, lines)
            elif "meter" in sku:
                lines += metered(usage, provider, sku, month, found[sku["id"]])
            else:
                lines += flat(usage, provider, sku, month)
        usage.runs[key] = lines
    return usage.runs[key]


def key_columns(provider, sku, period, account=None):
    values = provider["id"], provider["billing_account"], account, sku["id"], *period, provider["currency"]
    return dict(zip(KEY, values))


def part_of(usage, provider, price, period):
    start, end = usage.catalog.in_force(provider["id"], price)
    return max(start, period[0]), min(end, period[1])


def metered(usage, provider, sku, month, found):
    catalog, name, zone = usage.catalog, provider["id"], provider["time_zone"]
    meter, period = catalog.meters[sku["meter"]], catalog.billing_period(provider["id"], month)
    length = seconds(period[1] - period[0]) if sku.get("month") == "calendar" else sku.get("month")
    unit = {"count": "1", "unique": "1", "time_weighted": meter["unit"] + ".s", "rate": meter["unit"] + "/s"}.get(meter["aggregation"], meter["unit"])
    factor = worth(unit, length) / worth(sku["unit"], length)
    direct = sku["allocation"] == "direct"
    in_order = sorted(range(len(sku["price"])), key=lambda index: sku["price"][index]["from"])

    def quantity_of(items, index, increment=None):
        charge_period = part_of(usage, provider, sku["price"][index], period)
        return aggregate(usage, meter, items, charge_period, zone, factor, increment)

    def priced(pool):
        """By price with usage in it: items, quantity, exact cost."""
        parts = {index: [(item, customer) for item, customer, at in pool if at == index] for index in in_order}
        parts = {index: items for index, items in parts.items() if items}
        quantities = [quantity_of(items, index, sku["price"][index].get("increment")) for index, items in parts.items()]
        exact = costs(provider, [(sku["price"][index], quantity) for index, quantity in zip(parts, quantities)])
        return {index: (items, quantity, cost) for (index, items), quantity, cost in zip(parts.items(), quantities, exact)}

    def line_of(index, account, quantity, counted, exact):
        price = sku["price"][index]
        line = key_columns(provider, sku, part_of(usage, provider, price, period), account)
        amount = to_places(exact, 18, "half-even")
        return line | {"quantity": quantity, "metered_quantity": counted, "unit": sku["unit"], "amount": amount, "model": price["model"], "price": price}

    def weighed(index, items, alone):
        if sku["allocation"] == "standalone":
            quantities = {customer: quantity_of(part, index) for customer, part in by(items, lambda pair: pair[1] or LAST).items()}
            pays = {customer: alone[customer][index][2] for customer in quantities}
            weights = pays if any(pay > 0 for pay in pays.values()) else quantities
            return {(customer, ""): Share(max(weights[customer], Fraction(0)), quantities[customer], pays[customer]) for customer in quantities}
        weights = {}
        for sharer, part in by(items, lambda pair: (pair[1] or LAST, pair[0].event.subject)).items():
            quantity = quantity_of(part, index)
            weights[sharer] = Share(quantity, quantity)
        return weights

    if not found and not direct:
        index = catalog.price_at(name, sku, period[0])
        if index is not None:
            (exact,) = costs(provider, [(sku["price"][index], Fraction(0))])
            line = line_of(index, None, Fraction(0), Fraction(0), exact)
            if line["amount"] != 0:
                yield finish(usage, provider, sku, month, line, {})
    pools = by(found, lambda entry: entry[1] or LAST) if direct else {LAST: found}
    for account, pool in sorted(pools.items()):
        alone = {customer: priced(own) for customer, own in by(pool, lambda entry: entry[1] or LAST).items()} if sku["allocation"] == "standalone" else {}
        for index, (items, quantity, exact) in priced(pool).items():
            line = line_of(index, None if account == LAST else account, quantity, quantity_of(items, index), exact)
            yield finish(usage, provider, sku, month, line, weighed(index, items, alone))


def flat(usage, provider, sku, month):
    catalog, zone = usage.catalog, provider["time_zone"]
    period = catalog.billing_period(provider["id"], month)
    for price in sorted(sku["price"], key=lambda price: price["from"]):
        start, end = catalog.in_force(provider["id"], price)
        share, charge_period = Fraction(0), period
        if price["every"] == "once":
            share = Fraction(period[0] <= start < period[1])
        elif "prorate" in price:
            charge_period = part_of(usage, provider, price, period)
            if charge_period[0] < charge_period[1]:
                spans = [days(span, zone) if price["prorate"] == "day" else seconds(span[1] - span[0]) for span in (charge_period, period)]
                share = Fraction(spans[0]) / spans[1]
        else:
            share = Fraction(start <= period[0] < end)
        if share:
            line = key_columns(provider, sku, charge_period) | {"quantity": Fraction(1), "metered_quantity": None, "unit": None, "model": "flat", "price": price}
            line["amount"] = to_places(Fraction(price["amount"]) * share, 18, "half-even")
            yield finish(usage, provider, sku, month, line, {})


def days(span, zone):
    start, end = (bound.astimezone(ZoneInfo(zone)).date() for bound in span)
    return (end - start).days


def on_lines(usage, provider, sku, month, above):
    """A SKU that is priced by what lines above it settle at."""
    catalog, name = usage.catalog, provider["id"]
    period = catalog.billing_period(name, month)
    index = catalog.price_at(name, sku, period[0])
    if index is None:
        return
    price = sku["price"][index]
    of = [(line, charges) for line, charges in above if ("*" in sku["of"] or line["sku"] in sku["of"]) and line["sku"] not in sku.get("except", [])]
    direct = sku["allocation"] == "direct"
    for account, lines in sorted(by(of, lambda pair: pair[0]["sub_account"] or LAST).items()) if direct else [(LAST, of)]:
        account = None if account == LAST else account
        base = max(Fraction(0), sum((line["settled"] for line, _ in lines), Fraction(0)))
        match price["model"]:
            case "minimum":
                exact = max(Fraction(0), Fraction(price["amount"]) - base)
            case "maximum":
                exact = -max(Fraction(0), base - Fraction(price["amount"]))
            case "credit":
                exact = -min(base, Fraction(price["amount"]) - (drawn(usage, provider, sku, price, account, month) if price["every"] == "once" else 0))
            case _:
                (exact,) = costs(provider, [(price, base)])
        line = key_columns(provider, sku, period, account) | {"quantity": base, "metered_quantity": None, "unit": provider["currency"], "model": price["model"], "price": price}
        line["amount"] = to_places(exact, 18, "half-even")
        borne = defaultdict(Fraction)
        for _, charges in lines:
            for charge in charges:
                borne[LAST if charge["who"] == IDLE else charge["who"]] += charge["amount"]
        shares = {(customer, ""): Share(max(Fraction(0), amount)) for customer, amount in borne.items()}
        yield finish(usage, provider, sku, month, line, {(account or LAST, ""): Share(Fraction(1))} if direct else shares)


def drawn(usage, provider, sku, price, account, month):
    """What a credit has given in earlier billing periods since it began."""
    taken, start = Fraction(0), usage.catalog.in_force(provider["id"], price)[0]
    while usage.catalog.billing_period(provider["id"], month := month_after(month, -1))[0] >= start:
        for line, _ in provider_lines(usage, provider["id"], month):
            if line["sku"] == sku["id"] and line["sub_account"] == account:
                taken -= line["amount"]
    return taken


# Who bears a line


def finish(usage, provider, sku, month, line, own):
    """The cost line with its charges; `own` are the shares by the line's own usage or base."""
    line["settled"] = to_places(line["amount"], minor_digits(provider["currency"]), provider["rounding"]["mode"])
    shares = sharing(usage, provider, sku, month, line, own)
    # A line of 0 leaves everybody with 0; one that is not, and that nobody has a weight in, has no sharers.
    has_cost = line["amount"] != 0 or not ZERO_LINES_KEEP_SHARERS
    if not shares or has_cost and all(share.weight == 0 for share in shares.values()):
        who = LAST if sku["allocation"] == "even" else (line["sub_account"] or LAST) if sku["allocation"] == "direct" else IDLE
        shares = {(who, ""): Share(Fraction(1))}
    key, charges = {name: line[name] for name in KEY}, []
    for (who, subject), amount in sorted(allocate(line["amount"], 18, {sharer: share.weight for sharer, share in shares.items()}).items()):
        share = shares[who, subject]
        charge = {"who": who, "subject": subject or None, "rule": sku["allocation"], "quantity": share.quantity, "standalone": share.standalone}
        charges.append({**key, **bearer(usage.catalog, who, month), **charge, "amount": amount})
    return line, charges


def sharing(usage, provider, sku, month, line, own):
    match sku["allocation"]:
        case "fixed":
            return {(customer, ""): Share(Fraction(share)) for customer, share in sku["shares"].items()}
        case "even":
            period = usage.catalog.billing_period(provider["id"], month)
            return {(customer, ""): Share(Fraction(1)) for customer in sku.get("among", usage.catalog.bound_within(*period))}
        case "by_meter":
            return by_key(usage, provider, sku, (line["charge_period_start"], line["charge_period_end"]))
    return own


def by_key(usage, provider, sku, period):
    """The aggregates of the key, over events that name this provider or none."""
    meter = usage.catalog.meters[sku["key"]]
    pairs = [pair for pair in within(usage, usage.items(meter), period, set()) if pair[0].event.provider in (None, provider["id"])]
    shares = {}
    for sharer, part in by(pairs, lambda pair: (pair[1] or LAST, pair[0].event.subject)).items():
        quantity = aggregate(usage, meter, part, period, provider["time_zone"])
        shares[sharer] = Share(quantity, quantity)
    return shares


def bearer(catalog, who, month):
    if who in (LAST, IDLE):
        return {"customer": None, "kind": "retained", "retained_reason": "unattributed" if who == LAST else "idle"}
    if catalog.is_internal(who, month):
        return {"customer": who, "kind": "retained", "retained_reason": "internal"}
    return {"customer": who, "kind": "charge", "retained_reason": None}


# Statements


def month_run(usage, month):
    """All lines of a month as (line, charges, statement lines), before anything is converted, and what each grant paid."""
    key = "month", month
    if key not in usage.runs:
        lines = [(*pair, statements(usage, month, *pair)) for name in usage.catalog.providers for pair in provider_lines(usage, name, month)]
        usage.runs[key] = lines, {grant["id"]: pay(usage, month, grant, lines) for grant in usage.catalog.grants}
    return usage.runs[key]


def statements(usage, month, line, charges):
    catalog, digits = usage.catalog, minor_digits(line["currency"])
    key, exact = {name: line[name] for name in KEY}, defaultdict(Fraction)
    for charge in charges:
        exact[charge["who"]] += abs(charge["amount"])
    billed_to = {who: catalog.customers.get(who, {}).get("bills_to", who) for who in exact}
    groups = by(exact, billed_to.get)
    rows = []
    for who, amount in sorted(allocate(line["settled"], digits, {who: sum(exact[one] for one in group) for who, group in groups.items()}).items()):
        rows.append({**key, **bearer(catalog, who, month), "amount": amount, "biller": catalog.operator, "grant": None})
    for partner, group in sorted(groups.items()):
        if partner in catalog.partners:
            total = next(row["amount"] for row in rows if row["customer"] == partner)
            for who, amount in sorted(allocate(total, digits, {one: exact[one] for one in group}).items()):
                kind = {"customer": who, "kind": "retained", "retained_reason": "internal"} if who == partner else bearer(catalog, who, month)
                rows.append({**key, **kind, "amount": amount, "biller": partner, "grant": None})
    return rows


def pay(usage, month, grant, lines):
    """Adds a grant's parts to the lines that it covers and says what it paid."""
    if not grant["from"] <= month < grant.get("until", "9999"):
        return Fraction(0)
    left, earlier = Fraction(grant["amount"]), month
    while (earlier := month_after(earlier, -1)) >= grant["from"]:
        left -= month_run(usage, earlier)[1][grant["id"]]
    net = {}
    for number, (line, _, rows) in enumerate(lines):
        names = {f"{line['provider']}/{line['sku']}", f"{line['provider']}/*"}
        if line["currency"] == grant["currency"] and names & set(grant.get("of", names)) and not names & set(grant.get("except", [])):
            own = [row for row in rows if row["biller"] == usage.catalog.operator and row["customer"] == grant["customer"] and row["kind"] != "retained"]
            # What somebody pays as the funder of another grant is no line of its own to be paid for.
            own = [row["amount"] for row in own if row["kind"] == "charge" or row["amount"] < 0]
            if own:
                net[number] = sum(own)
    digits = minor_digits(grant["currency"])
    share = to_places(max(Fraction(0), sum(net.values())) * Fraction(grant.get("share", "1")), digits, "down")
    paid = min(share, left)
    if paid <= 0:
        return Fraction(0)
    for number, part in allocate(paid, digits, {number: amount for number, amount in net.items() if amount > 0}).items():
        line, _, rows = lines[number]
        row = {name: line[name] for name in KEY} | {"biller": usage.catalog.operator, "grant": grant["id"]}
        as_grant = {"kind": "grant", "retained_reason": None}
        funder = bearer(usage.catalog, grant["funder"], month)
        rows.append(row | as_grant | {"customer": grant["customer"], "amount": -part})
        rows.append(row | (funder if funder["kind"] == "retained" else as_grant) | {"customer": grant["funder"], "amount": part})
    return paid


def bill(usage, month, lines):
    """Converts what is billed, by running totals, so that the parts add up to the converted total."""
    running = defaultdict(Fraction)
    for line, _, rows in lines:
        for row in rows:
            row["billed_currency"] = row["rate"] = row["billed_amount"] = None
            if row["kind"] == "retained":
                continue
            wanted = usage.catalog.customers[row["customer"]]["currency"] if usage.catalog.rates is not None else row["currency"]
            row["billed_currency"] = wanted
            if wanted == row["currency"]:
                row["billed_amount"] = row["amount"]
                continue
            if (month, row["currency"], wanted) not in usage.catalog.rates:
                raise CannotRate(f"fx.csv has no rate of {row['currency']} in {wanted} for {month}")
            row["rate"] = usage.catalog.rates[month, row["currency"], wanted]
            key = row["biller"], row["customer"], row["provider"]
            before = converted(row["rate"] * running[key], wanted)
            running[key] += row["amount"]
            row["billed_amount"] = converted(row["rate"] * running[key], wanted) - before


def converted(amount, currency):
    return to_places(amount, minor_digits(currency), "half-even")
