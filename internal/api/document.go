package api

import (
	"cmp"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/gatewright/gatewright/internal/codecheck"
	"github.com/gatewright/gatewright/internal/event"
	"github.com/gatewright/gatewright/internal/release"
	"github.com/gatewright/gatewright/internal/rules"
	"github.com/gatewright/gatewright/internal/store"
	"github.com/gatewright/gatewright/internal/view"
	"github.com/gatewright/gatewright/internal/webhook"
)

// object is a JSON object of the document.
type object = map[string]any

func (a *API) document(c echo.Context) error { return write(c, Document(a.opts.Version)) }

// Document is the OpenAPI 3.1 document, made from the table of routes and the types that they name.
func Document(version string) object {
	s := schemas{}
	paths := object{}
	for _, r := range routes() {
		path := documentPath(r.path)
		operations, _ := paths[path].(object)
		if operations == nil {
			operations = object{}
			paths[path] = operations
		}
		operations[strings.ToLower(r.method)] = s.operation(r)
	}
	return object{
		"openapi":           "3.1.0",
		"jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
		"info": object{
			"title": "Gatewright", "version": version,
			"description": "What `gatewright list` and `show` print, the rules, and the orders of people. docs/api.md and docs/json.md describe it.",
		},
		"servers": []any{object{"url": Prefix}},
		"paths":   paths,
		"components": object{
			"schemas": s,
			"securitySchemes": object{
				"token":   object{"type": "http", "scheme": "bearer", "description": "A token of a machine, made by gatewright token create"},
				"session": object{"type": "apiKey", "in": "cookie", "name": "gatewright_session", "description": "The session of somebody who has logged in"},
			},
		},
	}
}

// documentPath writes the parameters of a path as {name}.
func documentPath(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, found := strings.CutPrefix(part, ":"); found {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

// statuses say what the status of an error means.
var statuses = map[int]string{
	http.StatusBadRequest: "The request is malformed", http.StatusUnauthorized: "Nobody is logged in, and there is no valid token", http.StatusForbidden: "The user may not do this",
	http.StatusNotFound: "There is no such record", http.StatusConflict: "It cannot be done now", http.StatusPreconditionFailed: "The record has changed since it was read",
	http.StatusRequestEntityTooLarge: "The body is too large", http.StatusUnsupportedMediaType: "The body is not JSON", http.StatusUnprocessableEntity: "The body lacks something, or has a value that is not taken",
	http.StatusPreconditionRequired: "If-Match is missing", http.StatusTooManyRequests: "Too many requests at once, or too many failures", http.StatusInternalServerError: "An internal error: see the log of gatewright",
	http.StatusServiceUnavailable: "The database does not answer, or the service starts or stops",
}

func (s schemas) operation(r route) object {
	o := object{"summary": r.summary, "operationId": operationID(r), "responses": s.responses(r)}
	var parameters []any
	for part := range strings.SplitSeq(r.path, "/") {
		if name, found := strings.CutPrefix(part, ":"); found {
			parameters = append(parameters, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range r.query {
		kind := "string"
		if p.Number {
			kind = "integer"
		}
		parameters = append(parameters, object{"name": p.Name, "in": "query", "description": p.About, "schema": object{"type": kind}})
	}
	if r.ordered {
		parameters = append(parameters, object{"name": "If-Match", "in": "header", "required": true, "description": "The ETag of the record as it was read; * for any", "schema": object{"type": "string"}})
	}
	if r.stream {
		parameters = append(parameters, object{"name": "Last-Event-ID", "in": "header", "description": "The id of the last event that was seen: those since are sent again", "schema": object{"type": "string"}})
	}
	if parameters != nil {
		o["parameters"] = parameters
	}
	if r.body != nil {
		o["requestBody"] = object{"required": true, "content": object{"application/json": object{"schema": s.of(reflect.TypeOf(r.body))}}}
	}
	if r.action != "" {
		o["security"] = []any{object{"token": []any{}}, object{"session": []any{}}}
	} else {
		o["security"] = []any{}
	}
	return o
}

// operationID is a word for the operation, such as get_runs_id_findings.
func operationID(r route) string {
	return strings.ToLower(r.method) + strings.NewReplacer("/:", "_", "/", "_", "-", "_", ".", "_").Replace(r.path)
}

func (s schemas) responses(r route) object {
	kind, answer := "application/json", any(object{"type": "object"})
	switch {
	case r.stream:
		kind, answer = "text/event-stream", object{"type": "string", "description": "Events of the type change, whose data is of the schema Change, and reset: read again what you show"}
		s.of(reflect.TypeOf(Change{}))
	case r.result != nil:
		answer = s.of(reflect.TypeOf(r.result))
	}
	ok := object{"description": "It was done", "content": object{kind: object{"schema": answer}}}
	if r.method == http.MethodGet {
		ok["description"] = "What was asked for"
	}
	if r.versioned {
		ok["headers"] = object{"ETag": object{"description": "The version of the record, for If-Match", "schema": object{"type": "string"}}}
	}
	responses := object{"200": ok}
	problems := append([]int{http.StatusBadRequest, http.StatusInternalServerError}, r.problems...)
	if r.action != "" {
		problems = append(problems, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusServiceUnavailable)
	}
	for _, status := range problems {
		responses[strconv.Itoa(status)] = object{"description": statuses[status], "content": object{"application/json": object{"schema": s.of(reflect.TypeFor[webhook.Problem]())}}}
	}
	return responses
}

// schemas are JSON schemas by the names of their types.
type schemas map[string]any

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	rawType      = reflect.TypeFor[json.RawMessage]()
)

// words are the values of texts that have few.
var words = map[reflect.Type][]string{
	reflect.TypeFor[event.DeliveryState](): wordsOf(event.DeliveryStates()),
	reflect.TypeFor[codecheck.State]():     append(wordsOf(codecheck.States()), ""),
	reflect.TypeFor[release.State]():       wordsOf(release.States()),
	reflect.TypeFor[store.ActionName]():    wordsOf(store.ActionNames()),
	reflect.TypeFor[store.RecordKind]():    wordsOf([]store.RecordKind{store.RecordDelivery, store.RecordRun, store.RecordRelease}),
}

func wordsOf[S ~string](values []S) (list []string) {
	for _, value := range values {
		list = append(list, string(value))
	}
	return list
}

// of is the schema of a type as encoding/json writes it; of a struct a reference to it.
func (s schemas) of(t reflect.Type) object {
	switch {
	case t == timeType:
		return object{"type": "string", "format": "date-time"}
	case t == durationType || t == reflect.TypeFor[view.Duration]():
		return object{"type": "string", "description": "A duration as Go writes it, such as 45m0s"}
	case t == rawType || t.Kind() == reflect.Interface:
		return object{}
	case t == reflect.TypeFor[rules.Debounce]():
		duration := s.of(durationType)
		return object{"type": "object", "properties": object{"quiet": duration, "max": duration}, "required": []any{"quiet", "max"}, "additionalProperties": false}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return object{"anyOf": []any{s.of(t.Elem()), object{"type": "null"}}}
	case reflect.Slice:
		return object{"type": []any{"array", "null"}, "items": s.of(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.String:
		if list := words[t]; list != nil {
			var values []any
			for _, word := range list {
				values = append(values, word)
			}
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return object{"type": "integer"}
	case reflect.Float64:
		return object{"type": "number"}
	case reflect.Struct:
		return s.structure(t)
	}
	panic("no schema for " + t.String())
}

func (s schemas) structure(t reflect.Type) object {
	name := schemaName(t)
	if name == "" {
		return s.fields(t)
	}
	if _, known := s[name]; !known {
		s[name] = nil // It may hold itself.
		s[name] = s.fields(t)
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// schemaName is the name of a type, with that of its package where that is not one of the models.
func schemaName(t reflect.Type) string {
	if t.Name() == "" {
		return ""
	}
	// Of Page[….view.Run] RunPage.
	name, element, generic := strings.Cut(t.Name(), "[")
	if generic {
		return strings.TrimSuffix(element[strings.LastIndex(element, ".")+1:], "]") + name
	}
	of := t.PkgPath()[strings.LastIndex(t.PkgPath(), "/")+1:]
	if of == "view" || of == "api" || of == "webhook" {
		return name
	}
	return strings.ToUpper(of[:1]) + of[1:] + name
}

// fields is the schema of a struct: no other members, and those without omitempty are always there.
func (s schemas) fields(t reflect.Type) object {
	properties, required := object{}, []string{}
	s.addFields(t, properties, &required)
	slices.Sort(required)
	o := object{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (s schemas) addFields(t reflect.Type, properties object, required *[]string) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			s.addFields(f.Type, properties, required)
		case f.IsExported():
			name = cmp.Or(name, f.Name)
			properties[name] = s.of(f.Type)
			if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") {
				*required = append(*required, name)
			}
		}
	}
}
