package standin

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// HostReports is what was reported to the git hosts: what a person sees there now.
type HostReports struct {
	Statuses []HostStatus  `json:"statuses"`
	Comments []HostComment `json:"comments"`
	Labels   []HostLabels  `json:"labels"`
}

// HostStatus is the status of a commit: a commit status, or the newest check run of a name.
type HostStatus struct {
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Commit     string `json:"commit"`
	Context    string `json:"context"`
	// State is in the host's own words; of a check run its conclusion, or its status before that.
	State       string `json:"state"`
	Description string `json:"description"`
	URL         string `json:"url,omitempty"`
	// Writes is how often it was written, History each state.
	Writes  int      `json:"writes"`
	History []string `json:"history"`
	// CheckRun: it is a check run. Annotations are those of the newest one.
	CheckRun    bool             `json:"check_run,omitempty"`
	Annotations []HostAnnotation `json:"annotations,omitempty"`
}

// HostAnnotation is one of a check run.
type HostAnnotation struct {
	Path    string `json:"path"`
	Line    int    `json:"line"`
	Level   string `json:"level"`
	Message string `json:"message"`
}

// HostComment is a comment on a merge request.
type HostComment struct {
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Number     int    `json:"number"`
	ID         int64  `json:"id"`
	// Author is the number of the account that wrote it.
	Author int64 `json:"author"`
	// Edits is how often it was changed.
	Edits int    `json:"edits"`
	Text  string `json:"text"`
	// Deleted comments are no longer served.
	Deleted bool `json:"deleted,omitempty"`
	// Reactions are those to it, in the host's own words.
	Reactions []string `json:"reactions,omitempty"`

	// login is the author's name; empty: that of the token's account.
	login            string
	created, updated time.Time
}

// HostLabels are those of a merge request.
type HostLabels struct {
	Host       string   `json:"host"`
	Repository string   `json:"repository"`
	Number     int      `json:"number"`
	Labels     []string `json:"labels"`
}

// The accounts of the token and of the App, the same on every host.
const (
	hostAccount, hostAccountName = 9001, "gatewright-reporter"
	hostAppAccount               = 9002
	// maxStatuses is how many statuses GitHub keeps of a commit and context (specs/githosts.md 1.5).
	maxStatuses = 1000
	// maxHostAnnotations is what GitHub takes in one request.
	maxHostAnnotations = 50
)

// hostReports remembers what was reported.
type hostReports struct {
	mu       sync.Mutex
	lastID   int64
	statuses []*HostStatus
	runs     []*hostCheckRun
	jobs     []*gitlabJob
	comments []*HostComment
	labels   []*HostLabels
	// repositoryLabels are those that a repository of Gitee has, by host and name.
	repositoryLabels map[string][]string
}

// hostCheckRun is one check run; the newest of a name counts.
type hostCheckRun struct {
	id                         int64
	host, repository           string
	name, sha                  string
	status, conclusion         string
	title, summary, detailsURL string
	annotations                []HostAnnotation
	// app is the number of the App that made it.
	app int64
}

// id is a new number; the caller holds mu.
func (h *hostReports) id() int64 {
	h.lastID++
	return 500_000 + h.lastID
}

// status is the one of a commit and context, made when it is missing; the caller holds mu.
func (h *hostReports) status(host, repository, sha, context string) *HostStatus {
	for _, s := range h.statuses {
		if s.Host == host && strings.EqualFold(s.Repository, repository) && s.Commit == sha && s.Context == context {
			return s
		}
	}
	s := &HostStatus{Host: host, Repository: repository, Commit: sha, Context: context}
	h.statuses = append(h.statuses, s)
	return s
}

// write notes one more write of a status.
func (s *HostStatus) write(state, description, url string) {
	s.State, s.Description, s.URL = state, description, url
	s.Writes++
	s.History = append(s.History, state)
}

// show makes a check run what its commit shows.
func (h *hostReports) show(run *hostCheckRun) {
	s := h.status(run.host, run.repository, run.sha, run.name)
	state := run.conclusion
	if state == "" {
		state = run.status
	}
	s.write(state, run.title, run.detailsURL)
	s.CheckRun, s.Annotations = true, run.annotations
}

// run finds a check run of a repository; the caller holds mu.
func (h *hostReports) run(r hosted, id string) *hostCheckRun {
	for _, run := range h.runs {
		if strconv.FormatInt(run.id, 10) == id && run.host == r.host && strings.EqualFold(run.repository, r.name) {
			return run
		}
	}
	return nil
}

// newestRuns are the newest check runs of each name of a commit, or of one name.
func (h *hostReports) newestRuns(r hosted, sha, name string) []*hostCheckRun {
	var found []*hostCheckRun
	seen := map[string]bool{}
	for _, run := range slices.Backward(h.runs) {
		if run.host == r.host && strings.EqualFold(run.repository, r.name) && run.sha == sha && (name == "" || run.name == name) && !seen[run.name] {
			seen[run.name] = true
			found = append(found, run)
		}
	}
	return found
}

// comment finds one that is not deleted; the caller holds mu.
func (h *hostReports) comment(r hosted, id string) *HostComment {
	for _, c := range h.comments {
		if strconv.FormatInt(c.ID, 10) == id && c.Host == r.host && strings.EqualFold(c.Repository, r.name) && !c.Deleted {
			return c
		}
	}
	return nil
}

// pageOf are the comments of a merge request that a page has, the oldest first.
func (h *hostReports) pageOf(r hosted, number, page, perPage int) []*HostComment {
	var found []*HostComment
	for _, c := range h.comments {
		if c.Host == r.host && strings.EqualFold(c.Repository, r.name) && c.Number == number && !c.Deleted {
			found = append(found, c)
		}
	}
	first := min((page-1)*perPage, len(found))
	return found[first:min(first+perPage, len(found))]
}

// labelsOf are those of a merge request; the caller holds mu.
func (h *hostReports) labelsOf(r hosted, number int) *HostLabels {
	for _, l := range h.labels {
		if l.Host == r.host && strings.EqualFold(l.Repository, r.name) && l.Number == number {
			return l
		}
	}
	l := &HostLabels{Host: r.host, Repository: r.name, Number: number, Labels: []string{}}
	h.labels = append(h.labels, l)
	return l
}

// Reports returns what was reported to the git hosts.
func (s *Server) Reports() HostReports {
	h := s.gitHosts.reports
	h.mu.Lock()
	defer h.mu.Unlock()
	all := HostReports{Statuses: []HostStatus{}, Comments: []HostComment{}, Labels: []HostLabels{}}
	for _, status := range h.statuses {
		status := *status
		status.History, status.Annotations = slices.Clone(status.History), slices.Clone(status.Annotations)
		all.Statuses = append(all.Statuses, status)
	}
	for _, comment := range h.comments {
		comment := *comment
		comment.Reactions = slices.Clone(comment.Reactions)
		all.Comments = append(all.Comments, comment)
	}
	for _, labels := range h.labels {
		labels := *labels
		labels.Labels = slices.Clone(labels.Labels)
		all.Labels = append(all.Labels, labels)
	}
	return all
}

// serveReports is GET /standin/reports.
func (s *Server) serveReports(w http.ResponseWriter, _ *http.Request) { writeHelper(w, s.Reports()) }

// route is a call about a repository, accountRoute one about the token's account.
func (g *gitHosts) route(pattern, operation string, style hostStyle, answerTo func(*call, hosted) answer) route {
	return route{pattern, operation, serviceGitHost, func(c *call) answer { return g.serve(c, style, answerTo) }}
}

func (g *gitHosts) accountRoute(pattern, operation string, style hostStyle, answerTo func(*call, hosted) answer) route {
	return route{pattern, operation, serviceGitHost, func(c *call) answer {
		r, refusal, ok := g.authorize(c, style)
		if !ok {
			return refusal
		}
		return answerTo(c, r)
	}}
}

// writes lets a write pass, unless a switch says that the token may not write, or that GitHub's secondary
// limit is reached.
func (g *gitHosts) writes(answerTo func(*call, hosted) answer) func(*call, hosted) answer {
	return func(c *call, r hosted) answer {
		switch {
		case r.readsOnly:
			return hostMessage(http.StatusForbidden, r.forbidden)
		case g.opts.GitHubSecondaryLimit && r.secondaryLimit:
			a := hostMessage(http.StatusForbidden, "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.")
			a.body = map[string]string{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.", "documentation_url": "https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#about-secondary-rate-limits"}
			return a.with("X-RateLimit-Remaining", "4987")
		}
		return answerTo(c, r)
	}
}

// hasCommit reports whether the repository has the full commit.
func (r hosted) hasCommit(sha string) bool {
	if r.missing || len(sha) != 40 {
		return false
	}
	_, err := r.CommitObject(plumbing.NewHash(sha))
	return err == nil
}

// fields are the parameters of a write: of a form, or the texts, numbers and truths of a JSON object; of an object
// in it as outer[inner].
func (c *call) fields() url.Values {
	if strings.HasPrefix(c.http.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		values, _ := url.ParseQuery(string(c.body)) // what can be read of it
		return values
	}
	var object map[string]any
	_ = json.Unmarshal(c.body, &object) // not an object: it has no fields
	values := url.Values{}
	collect(values, "", object)
	return values
}

func collect(values url.Values, prefix string, object map[string]any) {
	for name, value := range object {
		key := name
		if prefix != "" {
			key = prefix + "[" + name + "]"
		}
		switch value := value.(type) {
		case string:
			values.Set(key, value)
		case float64:
			values.Set(key, strconv.FormatFloat(value, 'f', -1, 64))
		case bool:
			values.Set(key, strconv.FormatBool(value))
		case map[string]any:
			collect(values, key, value)
		}
	}
}

// isWebURL reports whether a target is one that hosts take.
func isWebURL(target string) bool {
	u, err := url.Parse(target)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// acted marks the call as one that changed something, and answers.
func (c *call) acted(ref string, a answer) answer {
	c.entry.Acted, c.entry.Ref = true, ref
	return a
}

func created(body any) answer { return answer{status: http.StatusCreated, body: body} }
