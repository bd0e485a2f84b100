package standin

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
)

// giteaNotFound is what Gitea says of anything that is not there, a repository too.
const giteaNotFound = "The target couldn't be found."

func giteaStyle() hostStyle {
	return hostStyle{"gitea", "Authorization", "token ", "user does not exist [uid: 0, name: ]", giteaNotFound}
}

// giteaBranch: the name keeps its slashes in the path.
func giteaBranch(c *call, r hosted) answer {
	name := c.http.PathValue("branch")
	hash, found := r.ref(c, "refs/heads/"+name)
	if !found {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{"name": name, "protected": false, "user_can_push": true, "user_can_merge": true, "commit": r.giteaCommit(hash)})
}

func (r hosted) giteaCommit(hash plumbing.Hash) map[string]any {
	commit := map[string]any{"id": hash.String()}
	if found, err := r.CommitObject(hash); err == nil {
		commit["message"], commit["timestamp"] = found.Message, found.Committer.When.UTC()
		commit["author"] = map[string]any{"name": found.Author.Name, "email": found.Author.Email, "username": ""}
	}
	return commit
}

// giteaRefs answers with every ref whose name begins as asked: with that one alone when there
// is no other, and with a list otherwise.
func giteaRefs(c *call, r hosted) answer {
	wanted := "refs/" + c.http.PathValue("ref")
	all, err := r.References()
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list refs")
	}
	var names []string
	err = all.ForEach(func(ref *plumbing.Reference) error {
		if name := ref.Name().String(); strings.HasPrefix(name, wanted) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return hostMessage(http.StatusInternalServerError, "list refs")
	}
	slices.Sort(names)
	refs := []map[string]any{}
	for _, name := range names {
		if hash, found := r.ref(c, name); found {
			object := map[string]any{"type": r.objectType(hash), "sha": hash.String(), "url": ""}
			refs = append(refs, map[string]any{"ref": name, "url": "", "object": object})
		}
	}
	c.entry.Ref = wanted
	switch {
	case len(refs) == 0:
		return hostMessage(http.StatusNotFound, giteaNotFound)
	case len(refs) == 1 && refs[0]["ref"] == wanted:
		return ok(refs[0])
	}
	return ok(refs)
}

// giteaTag: the object of an annotated tag is its commit, also of a tag of a tag.
func giteaTag(c *call, r hosted) answer {
	tag, err := r.TagObject(plumbing.NewHash(c.http.PathValue("sha")))
	if err != nil || r.missing {
		return hostMessage(http.StatusBadRequest, "object does not exist [id: "+c.http.PathValue("sha")+", rel_path: ]")
	}
	return ok(map[string]any{
		"tag": tag.Name, "sha": tag.Hash.String(), "message": tag.Message, "tagger": signature(tag.Tagger),
		"object": map[string]any{"type": "commit", "sha": r.peel(tag.Hash).String(), "url": ""},
	})
}

func giteaPull(c *call, r hosted) answer {
	number, head, found := r.mergeRequest(c, "refs/pull/%d/head")
	if !found {
		return hostMessage(http.StatusNotFound, giteaNotFound)
	}
	return ok(map[string]any{
		"id": 8000 + number, "number": number, "state": "open", "draft": false, "mergeable": true, "merged": false,
		"merge_commit_sha": nil, "head": map[string]any{"label": "feature", "sha": head.String(), "repo_id": 5101},
	})
}

func giteaLanguages(c *call, r hosted) answer { return ok(r.languageSizes(c)) }
