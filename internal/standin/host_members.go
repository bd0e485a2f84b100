package standin

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// HostUser is an account of a git host.
type HostUser struct {
	ID    int64
	Login string
	// Role is its role in every repository, in GitHub's words: none, read, triage, write, maintain or
	// admin.
	Role string
}

// hostRoles are the legal roles, the least first.
func hostRoles() []string { return []string{"none", "read", "triage", "write", "maintain", "admin"} }

// HostMergeRequest is what a host says of a merge request beside its commit.
type HostMergeRequest struct {
	// Author is the number of its author; 0 when the account was deleted.
	Author int64
	// Fork: its source branch is in a fork. ForkDeleted: that is gone.
	Fork, ForkDeleted bool
	// WithoutBranch: it was pushed to refs/for/main. Gitea alone has such requests.
	WithoutBranch bool
	Closed        bool
	// MergedSHA is what main had after its merge, in full; empty: it is not merged.
	MergedSHA string
}

// sampleUsers are the accounts of a host that names none.
func sampleUsers() []HostUser {
	return []HostUser{
		{11, "mona", "write"}, {12, "ada", "maintain"}, {13, "ravi", "read"}, {14, "tova", "none"}, {hostAccount, hostAccountName, "admin"},
	}
}

// forkRepository is the number of the fork, and forkBranch the source branch of what comes from it.
const (
	forkRepository = 9100
	forkBranch     = "patch-1"
)

// proposal is a merge request as its host answers about it.
type proposal struct {
	HostMergeRequest
	author       *HostUser // nil: deleted
	sourceBranch string
}

// proposal is what the host says of a merge request: by default it is of the first account, from a branch of
// the repository.
func (r hosted) proposal(number int) proposal {
	p := proposal{sourceBranch: featureBranch}
	known := false
	if p.HostMergeRequest, known = r.about(number); !known && len(r.users) > 0 {
		p.Author = r.users[0].ID
	}
	if i := slices.IndexFunc(r.users, func(u HostUser) bool { return u.ID == p.Author }); i >= 0 {
		p.author = &r.users[i]
	}
	if p.Fork {
		p.sourceBranch = forkBranch
	}
	return p
}

// about says what a host of a kind knows of its merge requests.
func (g *gitHosts) about(kind string) func(int) (HostMergeRequest, bool) {
	return func(number int) (HostMergeRequest, bool) {
		g.mu.Lock()
		defer g.mu.Unlock()
		m, known := g.mergeRequests[kind][number]
		return m, known
	}
}

// SetMergeRequest changes what the host of a kind says of a merge request.
func (s *Server) SetMergeRequest(kind string, number int, m HostMergeRequest) {
	g := s.gitHosts
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mergeRequests[kind] == nil {
		g.mergeRequests[kind] = map[int]HostMergeRequest{}
	}
	g.mergeRequests[kind][number] = m
}

// source is the number of the repository with the source branch; target is that of the target.
func (p proposal) source(target int64) int64 {
	if p.Fork {
		return forkRepository
	}
	return target
}

// state is open, in the host's word, or closed.
func (p proposal) state(open string) string {
	if p.Closed || p.MergedSHA != "" {
		return "closed"
	}
	return open
}

// account is the author in the answers of GitHub, Gitee and Gitea; null when it was deleted.
func (p proposal) account() any {
	if p.author == nil {
		return nil
	}
	return p.author.json()
}

func (u HostUser) json() map[string]any {
	return map[string]any{"id": u.ID, "login": u.Login, "username": u.Login, "type": "User"}
}

// repository is the repository of the source branch; null when the fork was deleted.
func (p proposal) repository(target int64, name string) any {
	switch {
	case p.ForkDeleted:
		return nil
	case p.Fork:
		_, base, _ := strings.Cut(name, "/")
		return map[string]any{"id": forkRepository, "full_name": p.login() + "/" + base, "fork": true}
	}
	return map[string]any{"id": target, "full_name": name, "fork": false}
}

func (p proposal) login() string {
	if p.author == nil {
		return "ghost"
	}
	return p.author.Login
}

// memberRoutes tell which role an account has.
func (g *gitHosts) memberRoutes() []route {
	const permission = "/repos/{owner}/{name}/collaborators/{login}/permission"
	return []route{
		g.route("GET /api/v3"+permission, "github_permission", githubStyle(), githubPermission),
		g.route("GET /api/v4/projects/{project}/members/all/{id}", "gitlab_member", gitlabStyle(), gitlabMember),
		g.route("GET /api/v5"+permission, "gitee_permission", giteeStyle(), giteePermission),
		g.route("GET /api/v1"+permission, "gitea_permission", giteaStyle(), giteaPermission),
	}
}

// user finds an account by its name, without regard to case.
func (r hosted) user(login string) (HostUser, bool) {
	i := slices.IndexFunc(r.users, func(u HostUser) bool { return strings.EqualFold(u.Login, login) })
	if i < 0 || r.missing {
		return HostUser{}, false
	}
	return r.users[i], true
}

// githubPermission has the role in role_name, and the next of the older words in permission. Whoever
// may read a public repository has read.
func githubPermission(c *call, r hosted) answer {
	u, found := r.user(c.http.PathValue("login"))
	switch {
	case !found:
		return hostMessage(http.StatusNotFound, githubNotFound)
	case r.readsOnly && !r.byApp:
		return hostMessage(http.StatusForbidden, "Must have push access to view collaborator permission.")
	}
	if u.Role == "none" {
		u.Role = "read"
	}
	return githubAnswer(map[string]any{"permission": u.permission(), "role_name": u.Role, "user": u.json()})
}

// permission is the role in the four words that came before the others.
func (u HostUser) permission() string {
	switch u.Role {
	case "triage":
		return "read"
	case "maintain":
		return "write"
	}
	return u.Role
}

// gitlabMember knows nobody who has no role. The roles are Reporter, Developer, Maintainer and Owner.
func gitlabMember(c *call, r hosted) answer {
	id, err := strconv.ParseInt(c.http.PathValue("id"), 10, 64)
	i := slices.IndexFunc(r.users, func(u HostUser) bool { return u.ID == id })
	if err != nil || i < 0 || r.missing || r.users[i].Role == "none" {
		return hostMessage(http.StatusNotFound, "404 Not found")
	}
	level := map[string]int{"read": 20, "triage": 20, "write": 30, "maintain": 40, "admin": 50}[r.users[i].Role]
	return ok(map[string]any{
		"id": id, "username": r.users[i].Login, "name": r.users[i].Login, "state": "active", "access_level": level, "expires_at": nil, "membership_state": "active",
	})
}

// giteePermission has four words.
func giteePermission(c *call, r hosted) answer {
	u, found := r.user(c.http.PathValue("login"))
	if !found {
		return hostMessage(http.StatusNotFound, "404 User Not Found")
	}
	body := u.json()
	body["permission"] = u.permission()
	return ok(body)
}

// giteaPermission tells it to administrators of the repository alone.
func giteaPermission(c *call, r hosted) answer {
	u, found := r.user(c.http.PathValue("login"))
	switch {
	case r.readsOnly:
		return hostMessage(http.StatusForbidden, "Only admins can query all permissions, repo admins can query all repo permissions, collaborators can query only their own")
	case !found:
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{"permission": u.permission(), "role_name": u.permission(), "user": u.json()})
}
