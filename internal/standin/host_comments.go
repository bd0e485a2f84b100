package standin

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// NewHostComment is what somebody writes on a merge request.
type NewHostComment struct {
	// Host is the kind of the host, Repository the full name.
	Host       string `json:"host"`
	Repository string `json:"repository"`
	Number     int    `json:"number"`
	// Author is the number of the account that writes it, Login its name.
	Author int64  `json:"author"`
	Login  string `json:"login"`
	Text   string `json:"text"`
}

// AddComment writes a comment as a person does, and returns its number. The host sends no webhook.
func (s *Server) AddComment(n NewHostComment) (id int64, err error) {
	if _, known := s.gitHosts.hosts[n.Host]; !known || n.Repository == "" || n.Number <= 0 || n.Author <= 0 || n.Text == "" {
		return 0, fmt.Errorf("add comment: write a host of this stand-in, a repository, the number of a merge request, an author and a text")
	}
	h := s.gitHosts.reports
	h.mu.Lock()
	defer h.mu.Unlock()
	now := s.opts.Now()
	made := &HostComment{Host: n.Host, Repository: n.Repository, Number: n.Number, ID: h.id(), Author: n.Author, Text: n.Text, login: n.Login, created: now, updated: now}
	h.comments = append(h.comments, made)
	return made.ID, nil
}

// ChangeComment changes the text of a comment as somebody who may does, an hour after it was written; an empty text
// deletes the comment.
func (s *Server) ChangeComment(id int64, text string) error {
	h := s.gitHosts.reports
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.comments, func(c *HostComment) bool { return c.ID == id && !c.Deleted })
	if i < 0 {
		return fmt.Errorf("change comment: there is no comment %d", id)
	}
	if h.comments[i].Deleted = text == ""; text != "" {
		h.comments[i].Text, h.comments[i].updated = text, h.comments[i].created.Add(time.Hour)
		h.comments[i].Edits++
	}
	return nil
}

// postComment is POST /standin/comments with a NewHostComment: its number.
func (s *Server) postComment(w http.ResponseWriter, r *http.Request) {
	var n NewHostComment
	if !readHelper(w, r, "comment", &n) {
		return
	}
	id, err := s.AddComment(n)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeHelper(w, map[string]int64{"id": id})
}

// patchComment is PATCH /standin/comments/{id} with {"text": …}; an empty text deletes it.
func (s *Server) patchComment(w http.ResponseWriter, r *http.Request) {
	var change struct {
		Text string `json:"text"`
	}
	if !readHelper(w, r, "comment", &change) {
		return
	}
	id, _ := strconv.ParseInt(r.PathValue("id"), 10, 64) // no comment has 0
	if err := s.ChangeComment(id, change.Text); err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// commentRoutes read one comment and react to it. Gitee has no reactions.
func (g *gitHosts) commentRoutes() []route {
	const (
		github = "/api/v3/repos/{owner}/{name}/issues/comments/{id}"
		gitlab = "/api/v4/projects/{project}/merge_requests/{number}/notes/{id}"
		gitee  = "/api/v5/repos/{owner}/{name}/pulls/comments/{id}"
		gitea  = "/api/v1/repos/{owner}/{name}/issues/comments/{id}"
	)
	// In the patterns of a mux "comments" before a number contradicts "comments" after one.
	read := func(pattern, operation string, style hostStyle, shown func(*HostComment) map[string]any, notFound string) route {
		return g.route("GET "+strings.Replace(pattern, "/comments/", "/{comments}/", 1), operation, style, func(c *call, r hosted) answer {
			if word := c.http.PathValue("comments"); word != "" && word != "comments" {
				return unknownRoute.handle(c)
			}
			return r.readComment(c, shown, notFound)
		})
	}
	return []route{
		read(github, "github_comment", githubStyle(), (*HostComment).github, githubNotFound),
		read(gitlab, "gitlab_note", gitlabStyle(), (*HostComment).gitlab, "404 Not found"),
		read(gitee, "gitee_comment", giteeStyle(), (*HostComment).gitee, "404 Note Not Found"),
		read(gitea, "gitea_comment", giteaStyle(), (*HostComment).gitea, giteaNotFound),
		g.route("POST "+github+"/reactions", "github_react", githubStyle(), g.writes(func(c *call, r hosted) answer {
			return r.react(c, c.fields().Get("content"), githubNotFound, githubReactions())
		})),
		g.route("POST "+gitlab+"/award_emoji", "gitlab_react", gitlabStyle(), g.writes(gitlabReact)),
		g.route("POST "+gitea+"/reactions", "gitea_react", giteaStyle(), g.writes(func(c *call, r hosted) answer {
			return r.react(c, c.fields().Get("content"), giteaNotFound, append(githubReactions(), "thumbsup"))
		})),
	}
}

func githubReactions() []string {
	return []string{"+1", "-1", "laugh", "confused", "heart", "hooray", "rocket", "eyes"}
}

// target finds the comment in the path; where the path names a merge request too, on that one. The caller holds
// the lock of the reports.
func (r hosted) target(c *call) *HostComment {
	comment := r.reports.comment(r, c.http.PathValue("id"))
	number := c.http.PathValue("number")
	if comment == nil || r.missing || number != "" && number != strconv.Itoa(comment.Number) {
		return nil
	}
	return comment
}

func (r hosted) readComment(c *call, shown func(*HostComment) map[string]any, notFound string) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	comment := r.target(c)
	if comment == nil {
		return hostMessage(http.StatusNotFound, notFound)
	}
	return ok(shown(comment))
}

// react: the same reaction of an account once more is 200 and changes nothing.
func (r hosted) react(c *call, content, notFound string, known []string) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	comment := r.target(c)
	switch {
	case comment == nil:
		return hostMessage(http.StatusNotFound, notFound)
	case !slices.Contains(known, content):
		return hostMessage(http.StatusUnprocessableEntity, "Validation Failed: content")
	case slices.Contains(comment.Reactions, content):
		return ok(map[string]any{"id": comment.ID + 1, "content": content})
	}
	comment.Reactions = append(comment.Reactions, content)
	return c.acted("", created(map[string]any{"id": comment.ID + 1, "content": content, "user": map[string]any{"id": r.author()}}))
}

// gitlabReact: the same emoji once more is 404, as a note that is gone (gitlabhq lib/api/award_emoji.rb).
func gitlabReact(c *call, r hosted) answer {
	r.reports.mu.Lock()
	defer r.reports.mu.Unlock()
	comment := r.target(c)
	name := c.fields().Get("name")
	switch {
	case name == "":
		return hostMessage(http.StatusBadRequest, "name is missing")
	case comment == nil:
		return hostMessage(http.StatusNotFound, "404 Not found")
	case slices.Contains(comment.Reactions, name):
		return hostMessage(http.StatusNotFound, `404 Award Emoji {:name=>["has already been taken"]} Not Found`)
	}
	comment.Reactions = append(comment.Reactions, name)
	return c.acted("", created(map[string]any{"id": comment.ID + 1, "name": name, "awardable_id": comment.ID, "awardable_type": "Note"}))
}

// writer is the account of a comment.
func (c *HostComment) writer(extra ...string) map[string]any {
	login := c.login
	if login == "" {
		login = hostAccountName
	}
	account := map[string]any{"id": c.Author, "login": login}
	for _, key := range extra {
		account[key] = login
	}
	return account
}

// times are when it was written and changed, as the host spells times.
func (c *HostComment) times(into map[string]any, zone *time.Location, layout string) map[string]any {
	into["created_at"], into["updated_at"] = c.created.In(zone).Format(layout), c.updated.In(zone).Format(layout)
	return into
}

// beijing is the zone of Gitee's times.
func beijing() *time.Location { return time.FixedZone("", 8*60*60) }

// on is the address of the comment's merge request below a host's address.
func (c *HostComment) on(base, word string) string {
	return strings.TrimRight(base, "/") + "/" + c.Repository + "/" + word + "/" + strconv.Itoa(c.Number)
}
