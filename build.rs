//! Composes the description of the HTTP API that `GET /openapi.json` serves, from the parts in `src/edge/openapi`. The
//! parts are OpenAPI 3.1 with these abbreviations, which this file expands:
//!
//! - a parameter is the name of one in `parameters.json`;
//! - the headers of a response are names from `headers.json`, with `?` if they may be absent; every response also has
//!   those in `always`;
//! - the errors of an operation are codes and groups (`@`) from `errors.json`, and become one response for each status;
//! - a body, or its content, may be a name in `components`; `any` is the content of a stream;
//! - `{control}` stands for both control roots of subscriptions;
//! - each path gets a preflight.

#![allow(clippy::panic, reason = "the message of a panic says which part is wrong")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

const FOLDER: &str = "src/edge/openapi";
const PARTS: [&str; 6] = ["info", "streams", "subscriptions", "server", "parameters", "schemas"];
/// The control roots, and the suffix of their operations' names.
const CONTROL_ROOTS: [(&str, &str); 2] = [("/v1/stream/__ds", ""), ("/v1/stream/{root}/__ds", "OfRoot")];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={FOLDER}");
    println!("cargo::rerun-if-env-changed=CARGO_PKG_VERSION");
    let description = Composer::of_parts().compose();
    let folder = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    fs::write(Path::new(&folder).join("openapi.json"), description.to_string())
        .expect("cargo made the folder");
}

fn part(name: &str) -> Map<String, Value> {
    let path = format!("{FOLDER}/{name}.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

struct Composer {
    description: Map<String, Value>,
    headers: Map<String, Value>,
    always: Vec<String>,
    groups: Map<String, Value>,
    codes: Map<String, Value>,
    /// Error responses by their content, each with its name.
    errors: BTreeMap<String, String>,
}

impl Composer {
    fn of_parts() -> Composer {
        let mut description = Map::new();
        for name in PARTS {
            merge(&mut description, part(name));
        }
        let mut headers = part("headers");
        let mut errors = part("errors");
        Composer {
            description,
            always: strings(&headers["always"]),
            headers: taken(&mut headers["headers"]),
            groups: taken(&mut errors["groups"]),
            codes: taken(&mut errors["codes"]),
            errors: BTreeMap::new(),
        }
    }

    fn compose(mut self) -> Value {
        self.description["info"]["version"] = json!(env!("CARGO_PKG_VERSION"));
        let Some(Value::Object(paths)) = self.description.remove("paths") else {
            panic!("there are no paths")
        };
        let paths: Map<String, Value> = paths
            .into_iter()
            .flat_map(|(path, item)| under_control_roots(&path, item))
            .map(|(path, item)| (path, self.path_item(item)))
            .collect();
        self.description.insert("paths".to_owned(), Value::Object(paths));
        let other = self.other_requests();
        self.description.insert("x-other-requests".to_owned(), other);
        let preflight = self.response(json!({
            "description": "The preflight is allowed. The browser then sends the request itself, which may be refused.",
            "headers": ["Access-Control-Allow-Headers", "Access-Control-Allow-Methods", "Access-Control-Max-Age", "Access-Control-Allow-Origin?", "Access-Control-Expose-Headers?", "Access-Control-Allow-Credentials?", "Vary"],
        }));
        let mut responses: Map<String, Value> =
            self.errors.iter().map(|(text, name)| (name.clone(), parsed(text))).collect();
        responses.insert("Preflight".to_owned(), preflight);
        merge(&mut self.description, taken(&mut json!({ "components": { "responses": responses } })));
        let headers = self.used_headers();
        merge(&mut self.description, taken(&mut json!({ "components": { "headers": headers } })));
        Value::Object(self.description)
    }

    fn path_item(&mut self, item: Value) -> Value {
        let Value::Object(mut item) = item else { panic!("a path is an object") };
        let mut id = String::new();
        for (method, operation) in &mut item {
            match method.as_str() {
                "parameters" => *operation = references("parameters", operation),
                "get" | "head" | "put" | "post" | "patch" | "delete" => {
                    id = operation["operationId"].as_str().unwrap_or_default().to_owned();
                    self.operation(method, &id, operation);
                }
                name => assert!(name.starts_with("x-"), "{name} is no part of a path"),
            }
        }
        item.insert("options".to_owned(), preflight(&id));
        Value::Object(item)
    }

    fn operation(&mut self, method: &str, id: &str, operation: &mut Value) {
        let operation = operation.as_object_mut().expect("an operation is an object");
        if let Some(parameters) = operation.get_mut("parameters") {
            *parameters = references("parameters", parameters);
        }
        if let Some(body) = operation.get_mut("requestBody") {
            match body.as_str() {
                Some(name) => *body = reference("requestBodies", name),
                None if body["content"] == "any" => body["content"] = any_content(),
                None => {}
            }
        }
        let errors = operation.remove("errors").map(|errors| strings(&errors)).unwrap_or_default();
        let Some(Value::Object(responses)) = operation.get_mut("responses") else { panic!("no responses") };
        for response in responses.values_mut() {
            *response = self.response(response.take());
        }
        for (status, codes) in self.by_status(&errors) {
            responses
                .insert(status.to_string(), self.error(&format!("{id}.{status}"), &codes, method == "head"));
        }
    }

    /// Expands the headers and the content of a response.
    fn response(&self, mut response: Value) -> Value {
        let own = response.get("headers").map(strings).unwrap_or_default();
        let mut headers = Map::new();
        for name in self.always.iter().chain(&own) {
            let (name, is_optional) = (name.trim_end_matches('?'), name.ends_with('?'));
            assert!(self.headers.contains_key(name), "headers.json has no {name}");
            let component = if is_optional { format!("{name}.optional") } else { name.to_owned() };
            headers.insert(name.to_owned(), reference("headers", &component));
        }
        response["headers"] = Value::Object(headers);
        if let Some(schema) = response.get("content").and_then(Value::as_str) {
            response["content"] = json!({ "application/json": { "schema": reference("schemas", schema) } });
        }
        response
    }

    /// The codes of these errors and groups, by status.
    fn by_status(&self, errors: &[String]) -> BTreeMap<u64, Vec<String>> {
        let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for name in errors {
            match name.strip_prefix('@') {
                Some(group) => {
                    for (status, codes) in self.by_status(&strings(&self.groups[group])) {
                        found.entry(status).or_default().extend(codes);
                    }
                }
                None => found.entry(self.status_of(name)).or_default().push(name.clone()),
            }
        }
        for codes in found.values_mut() {
            codes.sort_unstable();
            codes.dedup();
        }
        found
    }

    fn status_of(&self, code: &str) -> u64 {
        let known = self.codes.get(code).unwrap_or_else(|| panic!("errors.json has no {code}"));
        known["status"].as_u64().expect("an error has a status")
    }

    /// A reference to the response with these errors, which has the name of the first operation that has it.
    fn error(&mut self, name: &str, codes: &[String], is_head: bool) -> Value {
        let (mut causes, mut headers, mut texts, mut objects) =
            (String::new(), Vec::new(), Vec::new(), Vec::new());
        for code in codes {
            let known = &self.codes[code];
            causes.push_str(&format!("- `{code}`: {}\n", known["cause"].as_str().unwrap_or_default()));
            // Of several errors, each may be without the headers of the others.
            let mark = if codes.len() == 1 { "" } else { "?" };
            headers.extend(
                known
                    .get("headers")
                    .map(strings)
                    .unwrap_or_default()
                    .iter()
                    .map(|name| format!("{name}{mark}")),
            );
            match known.get("text") {
                None => objects.push(code),
                Some(text) => texts.push(text.clone()),
            }
        }
        let mut content = Map::new();
        if !objects.is_empty() {
            let of_code = json!({ "error": { "properties": { "code": { "enum": objects } } } });
            let schema = json!({ "$ref": "#/components/schemas/Error", "properties": of_code });
            content.insert("application/json".to_owned(), json!({ "schema": schema }));
        }
        if !texts.is_empty() {
            content.insert("text/plain".to_owned(), json!({ "schema": { "enum": texts } }));
        }
        let mut response = json!({ "description": causes, "headers": headers, "x-codes": codes });
        if !is_head {
            response["content"] = Value::Object(content);
        }
        let text = self.response(response).to_string();
        reference("responses", self.errors.entry(text).or_insert(name.to_owned()))
    }

    /// The responses to all requests that no path describes.
    fn other_requests(&mut self) -> Value {
        let mut other = Map::new();
        for code in ["unknown_route", "method_not_allowed"] {
            let status = self.status_of(code);
            other.insert(
                status.to_string(),
                self.error(&format!("{code}.{status}"), &[code.to_owned()], false),
            );
        }
        Value::Object(other)
    }

    /// The headers that a response refers to, required or in the form that may be absent.
    fn used_headers(&self) -> Map<String, Value> {
        let mut headers = self.headers.clone();
        for (name, header) in &self.headers {
            let mut optional = header.clone();
            optional.as_object_mut().expect("a header is an object").remove("required");
            headers.insert(format!("{name}.optional"), optional);
        }
        let text = json!(self.description).to_string();
        headers.retain(|name, _| text.contains(&reference("headers", name).to_string()));
        headers
    }
}

fn merge(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match (into.get_mut(&name), value) {
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(_), _) => panic!("two parts have {name}"),
            (None, value) => {
                into.insert(name, value);
            }
        }
    }
}

/// The path with its operations, once below each control root if it is below one.
fn under_control_roots(path: &str, item: Value) -> Vec<(String, Value)> {
    let Some(below) = path.strip_prefix("{control}") else { return vec![(path.to_owned(), item)] };
    CONTROL_ROOTS.map(|(root, suffix)| (format!("{root}{below}"), under(root, suffix, item.clone()))).into()
}

fn under(root: &str, suffix: &str, mut item: Value) -> Value {
    let members = item.as_object_mut().expect("a path is an object");
    let has_parameter = root.contains("{root}");
    for operation in members.values_mut().filter(|operation| operation.is_object()) {
        let id = operation["operationId"].as_str().unwrap_or_default();
        operation["operationId"] = json!(format!("{id}{suffix}"));
        if let Some(errors) = operation["errors"].as_array_mut().filter(|_| has_parameter) {
            errors.push(json!("invalid_path"));
        }
    }
    if has_parameter {
        let parameters = members.entry("parameters").or_insert(json!([]));
        parameters.as_array_mut().expect("parameters are an array").insert(0, json!("root"));
    }
    item
}

fn taken(object: &mut Value) -> Map<String, Value> {
    object.as_object_mut().map(std::mem::take).expect("it is an object")
}

fn preflight(id: &str) -> Value {
    json!({
        "operationId": format!("{id}Preflight"),
        "tags": ["Preflight"],
        "summary": "Preflight",
        "parameters": [reference("parameters", "Origin"), reference("parameters", "Access-Control-Request-Headers")],
        "responses": { "204": reference("responses", "Preflight") },
    })
}

/// The content of a stream of any type.
fn any_content() -> Value {
    json!({
        "application/json": { "schema": {}, "example": [{ "token": "Hello" }, { "token": " world" }] },
        "text/plain": { "schema": { "type": "string" }, "example": "Hello" },
        "application/octet-stream": {},
        "*/*": {},
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn references(kind: &str, names: &Value) -> Value {
    strings(names).iter().map(|name| reference(kind, name)).collect()
}

fn strings(values: &Value) -> Vec<String> {
    let values = values.as_array().unwrap_or_else(|| panic!("{values} is no array of names"));
    values.iter().map(|value| value.as_str().expect("a name is a string").to_owned()).collect()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect("it was written a moment ago")
}
