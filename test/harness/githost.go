package harness

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// GitHost takes the statuses and comments of the connections to GitHub, of any commit and
// merge request, and remembers them. It does what it is asked before it waits and answers, so
// that a kill loses answers and not effects.
type GitHost struct {
	server *http.Server
	addr   string
	delay  time.Duration

	mu sync.Mutex
	// statuses are the states of a commit in the order in which they came, by connection,
	// repository, commit and context; first is when the first came.
	statuses map[string][]string
	first    map[string]time.Time
	// comments are the texts on each merge request, by connection and address of the list.
	comments map[string][]hostComment
	last     int
}

type hostComment struct {
	id   int
	body string
}

// variableToken is the environment variable of the connections' API token.
const variableToken = "PROOF_API_TOKEN"

// hostAccount is the account of the token.
const hostAccount = 9001

func startGitHost(delay time.Duration) (*GitHost, error) {
	h := &GitHost{delay: delay, statuses: map[string][]string{}, first: map[string]time.Time{}, comments: map[string][]hostComment{}}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start git host: %w", err)
	}
	h.addr = l.Addr().String()
	mux := http.NewServeMux()
	repository := "/{connection}/repos/{owner}/{name}"
	mux.HandleFunc("GET /{connection}/user", h.answer(func(*http.Request) (int, any) {
		return http.StatusOK, map[string]any{"id": hostAccount, "login": "gatewright"}
	}))
	mux.HandleFunc("POST "+repository+"/statuses/{sha}", h.answer(h.setStatus))
	mux.HandleFunc("GET "+repository+"/issues/{number}/comments", h.answer(h.listComments))
	mux.HandleFunc("POST "+repository+"/issues/{number}/comments", h.answer(h.addComment))
	mux.HandleFunc("PATCH "+repository+"/issues/comments/{id}", h.answer(h.editComment))
	h.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { _ = h.server.Serve(l) }()
	return h, nil
}

// answer does what do does, waits, and answers.
func (h *GitHost) answer(do func(*http.Request) (status int, body any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		status, body := do(r)
		h.mu.Unlock()
		wait(r.Context(), h.delay)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(body)
	}
}

func (h *GitHost) setStatus(r *http.Request) (int, any) {
	var said struct{ State, Context string }
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		return http.StatusBadRequest, map[string]string{"message": "Problems parsing JSON"}
	}
	key := r.PathValue("connection") + " " + r.PathValue("owner") + "/" + r.PathValue("name") + " " + r.PathValue("sha") + " " + said.Context
	h.statuses[key] = append(h.statuses[key], said.State)
	if _, known := h.first[key]; !known {
		h.first[key] = time.Now()
	}
	return http.StatusCreated, map[string]any{"id": 1, "state": said.State, "context": said.Context}
}

// mergeRequest names the merge request of a request.
func mergeRequestOf(r *http.Request) string {
	return r.PathValue("connection") + " " + r.PathValue("owner") + "/" + r.PathValue("name") + "#" + r.PathValue("number")
}

func (h *GitHost) comment(c hostComment) map[string]any {
	return map[string]any{"id": c.id, "body": c.body, "user": map[string]any{"id": hostAccount, "login": "gatewright"}}
}

func (h *GitHost) listComments(r *http.Request) (int, any) {
	list := []any{}
	if page := r.URL.Query().Get("page"); page == "" || page == "1" {
		for _, c := range h.comments[mergeRequestOf(r)] {
			list = append(list, h.comment(c))
		}
	}
	return http.StatusOK, list
}

func (h *GitHost) addComment(r *http.Request) (int, any) {
	var said struct{ Body string }
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		return http.StatusBadRequest, map[string]string{"message": "Problems parsing JSON"}
	}
	h.last++
	c := hostComment{h.last, said.Body}
	h.comments[mergeRequestOf(r)] = append(h.comments[mergeRequestOf(r)], c)
	return http.StatusCreated, h.comment(c)
}

func (h *GitHost) editComment(r *http.Request) (int, any) {
	var said struct{ Body string }
	if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
		return http.StatusBadRequest, map[string]string{"message": "Problems parsing JSON"}
	}
	id, _ := strconv.Atoi(r.PathValue("id"))
	for _, list := range h.comments {
		for i := range list {
			if list[i].id == id {
				list[i].body = said.Body
				return http.StatusOK, h.comment(list[i])
			}
		}
	}
	return http.StatusNotFound, map[string]string{"message": "Not Found"}
}

// Statuses returns the states of a commit of a repository in a context, in the order in which they came, and
// when the first did.
func (h *GitHost) Statuses(connection, repository, sha, context string) (states []string, first time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := connection + " " + repository + " " + sha + " " + context
	return append([]string{}, h.statuses[key]...), h.first[key]
}

// Comments counts the comments of each merge request that has any.
func (h *GitHost) Comments() map[string]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	counts := map[string]int{}
	for request, list := range h.comments {
		counts[request] = len(list)
	}
	return counts
}

// apiURL is the address of the API of a connection.
func (h *GitHost) apiURL(connection string) string { return "http://" + h.addr + "/" + connection }

func (h *GitHost) close() error { return h.server.Close() }
