package standin

import "fmt"

// TaskSeed is a check task that exists from the start, or is added by POST /standin/tasks: a full
// one, one of another branch of a full one, or that of a merge request.
type TaskSeed struct {
	// ID has 32 lower-case hex digits; empty: a new one.
	ID string `json:"id"`
	// ProjectID is the owner; empty: the first project.
	ProjectID string `json:"project_id"`
	Name      string `json:"name"`
	RepoURL   string `json:"repo_url"`
	Branch    string `json:"branch"`
	// Languages are those that it checks; none: it does not tell.
	Languages []string `json:"languages"`
	// Parent is the id of the full task that this one belongs to; empty: it is one itself. Then
	// MergeID, SourceBranch and TargetBranch make it the task of a merge request; without MergeID
	// it is the task of Branch.
	Parent       string `json:"parent"`
	MergeID      string `json:"merge_id"`
	SourceBranch string `json:"source_branch"`
	TargetBranch string `json:"target_branch"`
}

// problems say what is wrong with the task; isFull reports whether an id is that of a full task
// that it may belong to.
func (t TaskSeed) problems(o Options, isFull func(id string) bool) []string {
	var found []string
	if t.Name == "" || t.RepoURL == "" || t.Branch == "" {
		found = append(found, "needs a name, a repository and a branch")
	}
	if t.ID != "" && !hexID(t.ID) {
		found = append(found, fmt.Sprintf("needs an id of its own of 32 hex digits, got %q", t.ID))
	}
	if t.ProjectID != "" && !o.hasProject(t.ProjectID) {
		found = append(found, fmt.Sprintf("is of the unknown project %q", t.ProjectID))
	}
	if t.Parent != "" && !isFull(t.Parent) {
		found = append(found, fmt.Sprintf("has the parent %q, which is not a full task that exists already", t.Parent))
	}
	if t.MergeID != "" && (t.Parent == "" || t.SourceBranch == "" || t.TargetBranch == "") {
		found = append(found, "is of a merge request and needs a parent, a source and a target branch")
	}
	return found
}
