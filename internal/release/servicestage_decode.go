package release

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// The documents contradict themselves about shapes (specs/servicestage-release.md
// 8), so what is read here is read in every documented spelling: lists bare or in
// an object, names in snake_case or camelCase, numbers as numbers or as text.

// text is a value that the service sends as a string or as a number, kept as it
// was written; null is empty.
type text string

// maxText bounds, in bytes, an id that the service sends: those that are documented have 36
// at most.
const maxText = 128

// UnmarshalJSON accepts a string, a number or null. A number keeps all its digits.
func (t *text) UnmarshalJSON(data []byte) error {
	switch {
	case len(data) > maxText:
		return fmt.Errorf("read id: it is longer than %d bytes", maxText)
	case bytes.Equal(data, []byte("null")):
		*t = ""
	case len(data) > 0 && data[0] == '"':
		var s string
		if err := json.Unmarshal(data, &s); err != nil {
			return err
		}
		*t = text(s)
	case len(data) > 0 && (data[0] == '-' || data[0] >= '0' && data[0] <= '9'):
		*t = text(data)
	default:
		return fmt.Errorf("read id: neither a string nor a number")
	}
	return nil
}

// millis is a time in milliseconds since 1970, as a number or as text; 0 when it
// is absent or cannot be read, because no decision needs it.
type millis int64

// UnmarshalJSON never fails.
func (m *millis) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseInt(strings.Trim(string(data), `"`), 10, 64)
	if err != nil {
		n = 0
	}
	*m = millis(n)
	return nil
}

// UnmarshalJSON reads a number, or a string that holds one. Anything else is a
// status too, an unreadable one: it has not ended and does not count as a success. Null means
// that there is no status.
func (s *Status) UnmarshalJSON(data []byte) error {
	word := strings.Trim(string(data), `"`)
	n, err := strconv.ParseInt(word, 10, 32)
	switch {
	case word == "null" || word == "":
		*s = StatusNone
	case err != nil || n < 0:
		*s = statusUnreadable
	default:
		*s = Status(n)
	}
	return nil
}

// decodeList reads a list that stands bare or under key in an object. An object
// without the key, and any other value, is an error: it must not pass for an
// empty list.
func decodeList[T any](data []byte, key string) ([]T, error) {
	data = trimSpace(data)
	if len(data) > 0 && data[0] == '{' {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(data, &object); err != nil {
			return nil, err
		}
		list, ok := object[key]
		if !ok {
			return nil, fmt.Errorf("read answer: object without %q", key)
		}
		data = list
	} else if len(data) == 0 || data[0] != '[' {
		return nil, fmt.Errorf("read answer: neither a list nor an object")
	}
	var list []T
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, err
	}
	return list, nil
}

// maxTaskError bounds, in bytes, what is kept of a task's error text.
const maxTaskError = 300

// trimSpace removes the white space of JSON, no more.
func trimSpace(data []byte) []byte { return bytes.Trim(data, " \t\r\n") }

// decodeStages reads the stages and tasks out of a pipeline's details, in their order. The
// declaration may be an object, a list of objects or absent; tasks may stand in
// their stage or in groups of it. Details without tasks are not an error.
func decodeStages(data []byte) ([]stage, error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	var top map[string]any
	if err := decoder.Decode(&top); err != nil {
		return nil, err
	}
	var stages []stage
	for _, declaration := range objects(top, pick(top, "pipeline_declaration", "pipelineDeclaration")) {
		for _, object := range objects(declaration["stages"]) {
			name, _ := object["name"].(string)
			s := stage{name: name}
			for _, key := range []string{"tasks", "groups", "task_groups", "taskGroups", "task_group", "taskGroup"} {
				s.tasks = append(s.tasks, tasksIn(object[key])...)
			}
			stages = append(stages, s)
		}
	}
	return stages, nil
}

// tasksIn returns the tasks of a stage's list, which may hold tasks, lists of
// tasks, and groups: objects that hold tasks in turn.
func tasksIn(value any) []task {
	if list, ok := value.([]any); ok {
		var tasks []task
		for _, item := range list {
			tasks = append(tasks, tasksIn(item)...)
		}
		return tasks
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil
	}
	if tasks := tasksIn(object["tasks"]); len(tasks) > 0 {
		return tasks
	}
	name, _ := object["name"].(string)
	if name == "" {
		return nil
	}
	message, _ := pick(object, "error_details", "error_detail", "errorDetails", "errorDetail").(string)
	return []task{{Name: name, Status: statusOf(object["status"]), Error: shorten(message)}}
}

// statusOf reads a status that was decoded without a type.
func statusOf(value any) Status {
	switch v := value.(type) {
	case nil:
		return StatusNone
	case json.Number:
		return statusOf(v.String())
	case string:
		var s Status
		_ = s.UnmarshalJSON([]byte(v)) // never fails
		return s
	}
	return statusUnreadable
}

// objects returns the objects among values, and those in lists among them.
func objects(values ...any) []map[string]any {
	var found []map[string]any
	for _, value := range values {
		switch v := value.(type) {
		case map[string]any:
			found = append(found, v)
		case []any:
			found = append(found, objects(v...)...)
		}
	}
	return found
}

// pick returns the first of the keys that object has; nil when it has none.
func pick(object map[string]any, keys ...string) any {
	for _, key := range keys {
		if value, ok := object[key]; ok {
			return value
		}
	}
	return nil
}

// shorten makes one line of at most maxTaskError bytes out of a text.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxTaskError {
		s = strings.ToValidUTF8(s[:maxTaskError], "") + "…"
	}
	return s
}
